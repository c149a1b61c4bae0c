"""Trains the demo model. Build-time only: nothing that runs in the pipeline imports this package.

    pip install '.[demo-build]'
    python -m mmrag_pipeline.demo.render training --count COUNT --seed 2028 --out FOLDER
    python -m mmrag_pipeline.demo.train --out OUT --renders FOLDER --data ../shared/data
    python -m mmrag_pipeline.demo.train --evaluate

words, phrases      synonyms and caption templates; phrases beyond the captions
colours             the colour of a garment, measured
pictures, captions  the pictures, their tags, the split; what is said of them
tower               the image tower, and what its frozen stages make of every picture
sentences, teacher  MiniLM's sentence vectors, and the head that brings them among the pictures
joint               trains the image tower and the teacher
text, student       the text tower that is shipped, and its training
export, evaluate    open_clip local-dir; the scores
card                MODEL_CARD.md
"""
