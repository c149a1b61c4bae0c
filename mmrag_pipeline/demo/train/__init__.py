"""Trains the demo model. Build-time only: nothing that runs in the pipeline imports this package.

    pip install '.[demo-build]'
    python -m mmrag_pipeline.demo.render training --count COUNT --seed 2027 --out FOLDER
    python -m mmrag_pipeline.demo.train --out mmrag_pipeline/demo/model --renders FOLDER --data ../shared/data
    python -m mmrag_pipeline.demo.train --out mmrag_pipeline/demo/model --data ../shared/data --evaluate

words      synonyms and caption templates          pictures   the pictures, their tags, the split
colours    the colour of a garment, measured       sentences  word vectors from MiniLM
tower      the image tower, cached features        text       the text tower
joint      the training                            export     open_clip local-dir
evaluate   the scores                              card       MODEL_CARD.md
"""
