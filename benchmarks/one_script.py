"""Train cats and dogs in one script, as DVC's versioning tutorial does.

    python one_script.py WEIGHTS.npz

Features, head and metrics are one stage, so a changed dropout runs all of it.
benchmarks/tutorial.py runs it. Reimplemented after iterative/example-versioning: VGG16 in float32
on pixels scaled by 1/255 at 150 px, batches of 10, features as .npy; Flatten, Dense 256, dropout,
Dense 1; RMSprop, ten epochs.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import yaml

dropout = yaml.safe_load(Path("params.yaml").read_text())["dropout"]
vgg16 = keras.applications.VGG16(include_top=False, weights=None, input_shape=(150, 150, 3))
with np.load(sys.argv[1]) as file:
    vgg16.set_weights([file[variable.path] for variable in vgg16.weights])
sets = {}
for split in ("train", "validation"):
    images = keras.utils.image_dataset_from_directory(
        f"data/{split}", labels=None, image_size=(150, 150), batch_size=10, shuffle=False, verbose=0
    )
    features = vgg16.predict(images.map(lambda pixels: pixels / 255), verbose=0)
    np.save(f"features_{split}.npy", features)
    counts = [len(list(Path("data", split, label).iterdir())) for label in ("cats", "dogs")]
    sets[split] = features, np.repeat([0.0, 1.0], counts)
top = keras.Sequential(
    [
        keras.layers.Flatten(),
        keras.layers.Dense(256, activation="relu"),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
top.compile("rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
done = top.fit(
    *sets["train"], batch_size=10, epochs=10, validation_data=sets["validation"], verbose=0
)
top.save_weights("model.weights.h5")
Path("metrics.json").write_text(json.dumps({"accuracy": done.history["val_accuracy"][-1]}))
