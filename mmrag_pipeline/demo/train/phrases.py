"""Phrases far beyond the captions, for the text tower to learn from its teacher: things, what they are, colours.

The names and definitions of the 21,841 things of ImageNet (WordNet's, in timm's metadata), the words of open_clip's
vocabulary, alone and beside a thing, things in colours, and captions said in a longer way.
"""

import random

from timm.data import ImageNetInfo

from mmrag_pipeline.demo.train.sentences import vocabulary_words
from mmrag_pipeline.demo.train.words import COLOURS, FRAMES, MATERIALS, THINGS, with_article

_PURPOSES = (
    "for the office",
    "for a wedding",
    "for summer",
    "for rainy days",
    "for my mother",
    "for men",
    "for ladies",
    "for children",
    "for a walk in town",
    "for the kitchen",
    "for the living room",
    "as a gift",
    "from the new collection",
    "from last season",
    "on a white background",
    "on a dark background",
    "seen from behind",
    "seen from the side",
    "on a wooden table",
    "with matching details",
    "that looks expensive",
)
_QUESTIONS = (
    "what do we have in {colour}?",
    "find me {thing} for the campaign",
    "I need a picture of {thing}",
    "which {noun} do we have in {colour}?",
    "the {colour} {noun} of the autumn drop",
    "{thing} like the one in the catalogue",
)
_BESIDE = ("{noun} for {word}", "{word} {noun}", "{noun} with {word}", "{noun} of the {word}")


def wide_phrases(*, count: int, seed: int) -> list[str]:
    """Different phrases in a fixed order: every name and definition once, the rest made of them at random."""
    rng = random.Random(seed)
    info = ImageNetInfo("imagenet22k")
    names, phrases = [], []
    for number in range(info.num_classes()):
        words, _, definition = info.index_to_description(number, detailed=True).partition(": ")
        names += words.split(", ")[:3]
        phrases += words.split(", ")[:3]
        if len(definition) < 110:
            phrases.append(definition)
    own = [word for words in THINGS.values() for word in words]
    colours = [word for words in COLOURS.values() for word in words]
    materials = [word for words in MATERIALS.values() for word in words]
    every_word = vocabulary_words()
    for word in every_word:
        phrases += [word, rng.choice(_BESIDE).format(noun=rng.choice(own), word=word)]
    while len(phrases) < count:
        noun = rng.choice(own) if rng.random() < 0.5 else rng.choice(names)
        colour = rng.choice(colours)
        thing = noun if rng.random() < 0.2 else f"{colour} {noun}"
        if rng.random() < 0.25:
            thing = f"{rng.choice(materials)} {thing}"
        roll = rng.random()
        if roll < 0.25:
            thing = rng.choice(_QUESTIONS).format(thing=with_article(thing), noun=noun, colour=colour)
        elif roll < 0.5:
            thing = f"{thing} {rng.choice(_PURPOSES)}"
        elif roll < 0.7:
            thing = rng.choice(FRAMES).format(with_article(thing))
        phrases.append(thing)
    return list(dict.fromkeys(phrase.lower() for phrase in phrases))
