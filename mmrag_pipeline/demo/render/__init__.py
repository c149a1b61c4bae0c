"""The renderer of the demo media: parametric products in a photo studio, pictured by Mitsuba.

Build-time only: the pipeline never imports this package, and ships its result, `mmrag_pipeline/demo/library`.

Made again with (any machine with Python 3.11+; nothing else of the project is needed):

    pip install "mitsuba==3.9.1" "pyoidn==2.5.1.0" scikit-image pillow av
    python -m mmrag_pipeline.demo.render library                      # the committed library
    python -m mmrag_pipeline.demo.render training --count 900 --out DIR   # to train the model on
    python -m mmrag_pipeline.demo.render sheet --out sheet.png        # a contact sheet to look at

The committed pictures were made with Mitsuba's LLVM variant, three times as quick as the default scalar one:

    apt-get install libllvm19
    export MMRAG_RENDER_VARIANT=llvm_ad_rgb DRJIT_LIBLLVM_PATH=/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1

Every picture's seed comes from `catalogue.SEED` and its own name, so one picture can be made again alone.

Read in this order: `catalogue` (what there is), `wardrobe` (a look becomes shapes and finishes), `products/`
(the shapes), `palette` (colours and materials), `studio` (camera, backdrop, light), `engine` (Mitsuba and the
denoiser), `library` and `training` (the two things it writes).

All shapes, colours, names and pictures are the project's own; no outside asset is used.
"""
