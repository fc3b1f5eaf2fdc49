"""The columns of the frames of probes."""

from __future__ import annotations

from analyses._columns import bounds
from analyses._contract import Column
from analyses.probes.applying import PROBE, RANDOM
from analyses.probes.fitting import KEPT

SITE = Column("site", "", "what is read: its kind")
LAYER = Column("layer", "", "its layer, from 0")
METHOD = Column("method", "", f"how the probe was fitted; {KEPT}: the kept one, on texts that it was not fitted on")
K = Column("k", "count", "latents or channels that each class has; NULL for probes of all channels")
LOW, HIGH = bounds("fraction", over="groups")
SCORES = (
    SITE, LAYER, METHOD, K,
    Column("accuracy", "fraction", "held-out rows whose predicted class is one that counts for them"),
    LOW, HIGH,
    Column("majority", "fraction", "accuracy of always saying the commonest class"),
    Column("chance", "fraction", "accuracy of a class drawn evenly"),
    Column("discovered", "", "accuracy told from the majority's at a false discovery rate of 5% over the table"),
    Column("shared", "fraction", "accuracy on random folds, where rows of one group may be in two (mean of draws)"),
    Column("control", "fraction", "accuracy on those folds with control labels, random by type"),
    Column("selectivity", "fraction", "shared − control"),
    *bounds("fraction", "selectivity", over="groups"),
    Column("ece", "fraction", "expected calibration error: |accuracy − probability| over ten bins, weighted by rows"),
    Column("log_loss", "nats", "−log of the summed probability of the row's classes, mean; log(classes) knows nothing"),
)  # fmt: skip
BASELINES = (
    Column("baseline", "", "majority; chance; words alone: logistic regression on the mean token embedding"),
    Column("accuracy", "fraction", "as of the probes"), LOW, HIGH,
    Column("rows", "count", "texts or tasks"), Column("groups", "count", "groups, none of which is in two folds"),
    Column("classes", "count", "classes"), Column("folds", "count", "folds"),
    Column("left_out", "count", "rows without a class that has two groups"),
    Column("control_of", "", "what rows with one control label share"),
    Column("recurring", "fraction", "rows whose control label could be learnt: their type is among the rows fitted on"),
)  # fmt: skip
RELIABILITY = (
    SITE, LAYER, METHOD, K,
    Column("bin", "", "tenth of the probability, from 0"),
    Column("confidence", "probability", "mean probability of the class predicted"),
    Column("accuracy", "fraction", "share of rows for which it counts"), LOW, HIGH,
    Column("rows", "count", "held-out rows in the bin"),
)  # fmt: skip
CONFUSION = (
    Column("true", "", "class of the row; a row of several counts for the one predicted, else for each in part"),
    Column("predicted", "", "class predicted by the chosen probe"),
    Column("share", "fraction", "of the rows of the class"),
    Column("rows", "count", "rows of the class"),
)
ITEMS = (
    Column("item", "", "number of the text or task, from 0"), Column("begins", "", "its beginning"),
    Column("group", "", "rows of one group are in one fold"), Column("classes", "", "those that count for it"),
    Column("fold", "", "the fold it was held out in"), Column("predicted", "", "by the chosen probe"),
    Column("probability", "probability", "of the predicted class"), Column("hit", "", "whether it counts"),
)  # fmt: skip
LATENTS = (
    Column("class", "", "what the latents speak for or against"), Column("latent", "", "in the dictionary, from 0"),
    Column("rank", "", "1: largest difference of means"), Column("weight", "log-odds", "for one unit of activation"),
    Column("mean_in", "", "mean activation over the rows of the class"), Column("mean_out", "", "over the others"),
    Column("active_in", "fraction", "rows of the class where it is active"), Column("active_out", "fraction", "others"),
    Column("chosen", "fraction", "folds whose probe of as many latents has it"),
)  # fmt: skip
_CELL = (
    Column("edit", "", "ablate: hold the probe's subspace at its mean; patch: give the projection that the other side "
           "has; steer: add; nothing: the model as it is"),
    Column("amount", "", "of steering, in distances between the class means along the direction"),
    Column("arm", "", f"{PROBE}, or {RANDOM}: every vector moves as far along a random direction"),
)  # fmt: skip
EDITS = (
    Column("item", "", "number of the held-out text"), Column("group", "", "its group"), *_CELL,
    Column("draw", "", "which random direction"), Column("predicted", "", "by the probe, which reads after the edit"),
    Column("hit", "", "whether that counts"), Column("toward", "", "whether it is the direction's class"),
    Column("moved", "", "distance by which the probed vector moved"),
    Column("loss", "nats a token", "of the text's own tokens"),
    Column("loss_added", "nats a token", "what the edit adds to it"),
    Column("kl", "nats", "next token after the text: divergence of the edited model from the model"),
    Column("answer_added", "nats", "change of log P(any accepted answer begins next); NULL for texts"),
)  # fmt: skip
MEASURES = {
    "hit": "probe right", "toward": "probe says the class", "loss_added": "loss added", "kl": "KL after the text",
    "answer_added": "answer's log-probability",
}  # fmt: skip
SHARES = ("hit", "toward")
"""Measures that are shares of texts."""
APPLIED = (
    *_CELL, Column("measure", "", "column of `edits`, or refit: accuracy of a new probe of held-out, ablated rows"),
    Column("mean", "", "over held-out texts; of random directions over draws"),
    Column("low", "", "lower end of its 95% interval over groups; of random directions: of 95% of further draws"),
    Column("high", "", "upper end"), Column("beyond_random", "", "outside the interval of random directions"),
    Column("texts", "count", "held-out texts"),
)  # fmt: skip
ABOUT = (
    Column("site", "", "of the chosen probe"), Column("layer", "", "its layer"), Column("method", "", "its method"),
    Column("k", "count", "its latents"), Column("position", "", "last token, or mean over tokens without the first"),
    Column("target", "", "what the classes are"), Column("class", "", "towards which the direction points"),
    Column("source", "", "fitted here, or the name of the kept probe"),
    Column("applied", "", "method and site of the probe applied or tested besides; empty for none"),
    Column("kept_as", "", "name under which a probe of all rows was kept"),
)  # fmt: skip
COLUMNS = {
    "scores": SCORES, "baselines": BASELINES, "reliability": RELIABILITY, "confusion": CONFUSION, "items": ITEMS,
    "latents": LATENTS, "edits": EDITS, "applied": APPLIED, "about": ABOUT,
}  # fmt: skip
