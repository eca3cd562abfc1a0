"""Does the thinking stay in one language? The share of its words that belong to the target language.

Source: the language consistency reward of DeepSeek-R1, the proportion of target-language words in the thinking.
Departure, since no language identifier ships with the package: a word's script decides, each CJK, kana or Thai
character counting as one word; among languages of one script, a word counts as foreign when it is a common word of
another listed language and not of the target. Numbers, LaTeX commands, single Latin letters (variables) and code are
neutral. Not covered: telling apart languages of one script by anything but their commonest words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ponder.errors import unknown
from ponder.graders import extract
from ponder.types import Completion, Grade, Problem

_SCRIPTS = {
    "latin": r"A-Za-z\u00aa-\u024f\u1e00-\u1eff",
    "cyrillic": r"\u0400-\u052f",
    "greek": r"\u0370-\u03ff",
    "arabic": r"\u0600-\u06ff\u0750-\u077f",
    "hebrew": r"\u0590-\u05ff",
    "devanagari": r"\u0900-\u097f",
    "hangul": r"\u1100-\u11ff\uac00-\ud7af",
    "kana": r"\u3040-\u30ff",
    "han": r"\u3400-\u4dbf\u4e00-\u9fff",
    "thai": r"\u0e00-\u0e7f",
}
_SINGLE = {"kana", "han", "thai"}
_WORDS = {name: re.compile(f"[{span}]" + ("" if name in _SINGLE else "+")) for name, span in _SCRIPTS.items()}
_NEUTRAL = re.compile(r"\\[a-zA-Z]+|</?[a-zA-Z_]+>|`[^`]*`|\$[^$]*\$")

LANGUAGES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl"), ("latin",)),
    "ru": ("cyrillic",), "uk": ("cyrillic",), "el": ("greek",), "ar": ("arabic",), "fa": ("arabic",), "he": ("hebrew",),
    "hi": ("devanagari",), "ko": ("hangul",), "ja": ("kana", "han"), "zh": ("han",), "th": ("thai",),
    **{name: (name,) for name in _SCRIPTS}, "cjk": ("han", "kana", "hangul"),
}  # fmt: skip
_COMMON = {
    "en": (
        "the of and to in is that it for was on are as with they be at this have from or by not but what all were "
        "we when your can there use an each which she do how their if will so then them these would like him into "
        "has more go see could no my than been its who now did get down may first let find number total answer "
        "therefore hence since "
        "a i an am has had his her he she him me my any some other one two also here same such only most very where why "
        "because just about after before between over under again take give must should been being does did made make "
        "per plus want come door met hat hay pour"
    ),
    "de": (
        "der die das und ist nicht ein eine einen einem einer zu mit den von sich auf für dem im auch es an "
        "werden aus er hat dass sie nach wird bei noch wie um am sind über wir haben kann oder aber wenn nur war "
        "also dann mal durch was man so ja ihr sein sind mehr muss vor des ich du ob alle alles hier da jetzt gibt in"
    ),
    "fr": (
        "le la les des et est une un pour dans que qui sur pas au avec il elle nous vous par plus ce cette sont "
        "ou mais donc alors si leur être aussi comme tout fait deux même on du aux ses"
    ),
    "es": (
        "el la los las y es una un para en que de con por no se su al lo como más pero sus le ya o este sí porque "
        "esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante entonces"
    ),
    "it": (
        "il lo la gli le e è una un per in che di con non si su al come più ma sono della dei del nella anche se "
        "quindi perché questo questa quando allora"
    ),
    "pt": (
        "o a os as e é uma um para em que de com por não se seu ao como mais mas sua ou este porque esta entre "
        "quando muito sem sobre também até há onde quem desde todos então"
    ),
    "nl": (
        "de het een en van is niet dat op te voor met zijn er aan die ook als maar om hij bij uit nog dan wat "
        "naar kan door worden heeft dus want wij"
    ),
}
COMMON = {language: frozenset(words.split()) for language, words in _COMMON.items()}


@dataclass(frozen=True, slots=True)
class LanguageGrader:
    """The share of the thinking's words in `language`, from 0 to 1; "correct" from `threshold` up.

    Without thinking or without words there is nothing to judge: the score is None.
    """

    language: str = "en"
    threshold: float = 0.9
    of_answer: bool = False
    """Whether the answer's words count too."""

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise unknown("language", self.language, LANGUAGES)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(None, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`; there is no reference to use."""
        thinking, answer = extract.parts(completion)
        if thinking is None and not self.of_answer:
            return Grade(None, "unparsed", reason="no thinking to judge the language of")
        text = (thinking or "") + ("\n" + (answer or "") if self.of_answer else "")
        inside, words = share(text, self.language)
        if not words:
            return Grade(None, "unparsed", {"words": 0}, "no words to judge the language of")
        score = inside / words
        return Grade(score, "correct" if score >= self.threshold else "wrong", {"words": words})


def share(text: str, language: str) -> tuple[int, int]:
    """(words of the target language, all words) of a text."""
    text = _NEUTRAL.sub(" ", text)
    scripts, own = LANGUAGES[language], COMMON.get(language, frozenset[str]())
    rivals = (
        frozenset[str]().union(*(w for name, w in COMMON.items() if name != language)) - own
        if own
        else frozenset[str]()
    )
    inside = total = 0
    for script, pattern in _WORDS.items():
        for word in pattern.findall(text):
            if script in ("latin", "greek") and len(word) == 1 and word not in own:
                continue
            total += 1
            inside += script in scripts and word.lower() not in rivals
    return inside, total
