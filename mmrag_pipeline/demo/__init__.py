"""The packaged demo: a small brand library, a small CLIP, the story that `mmrag demo` plays."""
