"""Files -> pixels: the library's drops, their manifests, decoding, video keyframes, contact sheets."""
