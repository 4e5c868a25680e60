"""Recognize what names of folders and files stand for: splits, folds, groups, kinds of image."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

UNLABELLED = "unlabelled"
SPLIT_WORDS = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("validation", "validate", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
    UNLABELLED: ("unlabelled", "unlabeled", "unsup", "pred", "predict", "prediction"),
}
# The same in Spanish, French, German, Italian, Portuguese, Russian, Chinese, Japanese and Korean,
# without accents
TRANSLATED = {
    "train": (
        "entrenamiento", "entrainement", "apprentissage", "addestramento", "treino", "treinamento",
        "обучение", "обучающая", "тренировка", "训练", "訓練", "学習", "학습", "훈련",
    ),
    "validation": (
        "validacion", "validierung", "validazione", "validacao", "валидация", "проверка", "验证",
        "驗證", "検証", "검증",
    ),
    "test": (
        "prueba", "pruebas", "essai", "teste", "testes", "тест", "测试", "測試", "テスト", "테스트",
    ),
}  # fmt: skip


def normalized(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS and some tools decompose accents."""
    return unicodedata.normalize("NFC", name)


def without_accents(name: str) -> str:
    """Return a name with `é` replaced by `e`, and so on."""
    letters = unicodedata.normalize("NFD", name)
    return normalized("".join(each for each in letters if not "\u0300" <= each <= "\u036f"))


SPLIT_OF = {
    without_accents(word): split
    for table in (SPLIT_WORDS, TRANSLATED)
    for split, words in table.items()
    for word in words
}
SPLITS = ("train", "validation", "test")  # those whose images have labels, in this order
# Words beside that of a split in the name of its folder: seg_train, Testing_Data, final_test_images
AFFIXES = {
    "set", "sets", "subset", "dataset", "data", "split", "images", "image", "imgs", "img", "jpg",
    "jpeg", "png", "pictures", "photos", "folder", "dir", "files", "seg", "final", "all", "new",
    "my", "raw", "full", "clean", "cleaned", "cropped", "resized", "processed", "aug", "augmented",
    "original", "single", "daten", "bilder", "imagenes", "fotos", "donnees", "dados",
}  # fmt: skip
# Endings of words: testset, Trainingsdaten
ENDINGS = r"(.+?)(?:sets?|images?|imgs?|data|folder|s?daten|s?bilder|集|セット|データ)"
# Folders between others that say nothing about their images
NEUTRAL = {
    "images", "image", "imgs", "img", "imagens", "data", "dataset", "datasets", "pictures", "pics",
    "photos", "jpg", "jpeg", "jpegs", "png", "pngs", "jpegimages", "frames", "rgb",
}  # fmt: skip
ANONYMOUS = NEUTRAL | {"unknown", "unknowns", "all", "unclassified", "none", "na"}
# Folders of pictures that belong to other pictures
KINDS = {
    "masks", "mask", "segmentation", "segmentations", "segmented", "seg", "annotation",
    "annotations", "labels", "ground_truth", "groundtruth", "gt", "depth", "heatmap", "heatmaps",
    "edges", "contours", "thumbs", "thumbnails", "thumbnail", "thumb", "previews", "overlays",
    "gradcam", "bbox", "bboxes", "augmented", "original", "originals", "grayscale", "greyscale",
}  # fmt: skip
AS_CLASS = {"mask", "seg", "edges", "depth", "original", "augmented"}  # may also be a class
FOLD = re.compile(
    r"(?:.*[ _.-])?(?:fold|part|batch|subset|chunk|shard|cv)[ _.-]?(?:\d+|[a-z])", re.IGNORECASE
)
GROUP_WORDS = {
    "patient", "pat", "subject", "subj", "sub", "case", "person", "participant", "user", "id",
    "animal", "individual", "video", "vid", "clip", "seq", "sequence", "session", "scene", "day",
    "week", "date", "visit", "scan", "slide", "series", "study", "exam", "plate", "well", "field",
    "plot", "tree", "plant", "lot", "panel", "wafer", "module", "device", "cam", "camera", "site",
    "run", "trial", "tile", "roi", "p", "s",
}  # fmt: skip
DATE = re.compile(r"(?:19|20)\d\d[ _.-]?[01]\d(?:[ _.-]?[0-3]\d)?(?!\d)")
# Where a label is in file names: cat.12.jpg, cat12.jpg or cat (12).jpg, cat-a8f3.jpg, 12_cat.jpg
LABEL_PATTERNS = (
    "^([^0-9]+)[._-][0-9]+[.]",
    "^([^0-9]+?)[ ._(-]*[0-9]+[)]?[.]",
    "^([A-Za-z]+)[._-]",
    "[0-9][ ._-]+([^0-9]+)[.]",
    "[._-]([A-Za-z]+)[.][A-Za-z]+$",
)
NO_LABELS = {"img", "dsc", "dscn", "dscf", "pxl", "image", "photo", "pic", "frame", "screenshot"}


def words_of(name: str) -> list[str]:
    """Return the lower-case words of a name: trainImages_2 gives train, images.

    Digits, versions such as v2, and a word's ending such as set in `testset` are left out.
    """
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", without_accents(name)).lower()
    parts = re.sub(r"hold[ _.-]?out|held[ _.-]?out", "holdout", parts)
    words = []
    for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<![a-z])v\d+", " ", parts)):
        ending = re.fullmatch(ENDINGS, word)
        words.append(ending[1] if ending and ending[1] in SPLIT_OF else word)
    return words


def split_of(name: str) -> str | None:
    """Return the split that the name of a folder says, or None.

    Example:
        >>> split_of("Testing_Data"), split_of("seg_train"), split_of("test tube")
        ('test', 'train', None)
    """
    words = words_of(name)
    splits = {SPLIT_OF[word] for word in words if word in SPLIT_OF}
    known = all(word in SPLIT_OF or word in AFFIXES for word in words)
    return splits.pop() if len(splits) == 1 and known else None


def splits_of(names: Collection[str]) -> dict[str, str]:
    """Return the names of folders side by side that are splits, with their split.

    Another word may stand beside that of the split if it is the same in folders of different
    splits, such as xray_train and xray_test.
    """
    found = {name: split for name in names if (split := split_of(name))}
    rests = {name: words_around_split(name) for name in names if name not in found}
    loose = {name: rest for name, rest in rests.items() if rest}
    if len(set(loose.values())) == 1:
        same = {name: SPLIT_OF[next(w for w in words_of(name) if w in SPLIT_OF)] for name in loose}
        if len(set(same.values())) > 1:
            found |= same
    return found


def words_around_split(name: str) -> tuple[str, ...]:
    """Return the other words of a name that contains one word of a split, else nothing."""
    words = words_of(name)
    rest = tuple(word for word in words if word not in SPLIT_OF)
    return rest if len(rest) == len(words) - 1 else ()


def is_fold(name: str) -> bool:
    """Return whether a folder is a numbered part of a data set, such as fold1 or part_2."""
    return FOLD.fullmatch(name) is not None


def is_group(name: str) -> bool:
    """Return whether a name says which patient, part or day, such as patient_07 or 2024-05-31."""
    if DATE.match(name):
        return True
    match = re.fullmatch(r"([A-Za-z]+)[ _.-]?[A-Za-z]?\d+.*", name)
    return match is not None and match[1].lower() in GROUP_WORDS


def is_kind(name: str) -> bool:
    """Return whether a folder's pictures belong to other pictures, such as masks."""
    return name.lower().replace(" ", "_").replace("-", "_") in KINDS


def suggest_label_pattern(names: Iterable[str]) -> tuple[str, list[str]] | None:
    """Return a regular expression that reads labels from these file names, and the labels.

    Returns:
        None if no pattern gives every file a label and every label at least two files.
    """
    names = list(names)
    for pattern in LABEL_PATTERNS:
        matches = [re.search(pattern, name) for name in names]
        if not all(matches):
            continue
        labels = Counter(match[1] for match in matches if match)
        plausible = 2 <= len(labels) <= len(names) / 2 and min(labels.values()) >= 2
        if plausible and not {label.lower() for label in labels} <= NO_LABELS:
            return pattern, sorted(labels)
    return None
