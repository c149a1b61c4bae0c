"""How near the whole run comes to what decoding and the model take by themselves."""
