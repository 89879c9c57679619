"""Where the public corpora come from, and the SHA-256 of their files.

What is known of the official bytes; it was recorded without a connection to the servers themselves.

* SciERC: the first value is that of the official archive's member, as several public repositories record it;
  the copy we know, with a final line break added, has the same. The second is that copy's, without one.
* ADE, CoNLL04: the values are of copies in the public repository Coopercoppers/PFN, by its word from SpERT's
  addresses (in lavis-nlp/spert, `scripts/fetch_datasets.sh`). That these are the bytes which the server gives
  is likely, not checked. If it gives others, the fetch says so and keeps nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Name = Literal["scierc", "ade", "conll04"]


@dataclass(frozen=True)
class Source:
    """A corpus at its official address.

    Attributes:
        address: of the folder that holds the files or the archive; ends with a slash.
        checksums: file name -> the SHA-256 values that are accepted.
        archive: name of a tar.gz at the address; empty where the files are served one by one.
        archive_folder: where in the archive the files lie.
    """

    address: str
    checksums: Mapping[str, tuple[str, ...]]
    archive: str = ""
    archive_folder: str = ""


_SPERT = "http://lavis.cs.hs-rm.de/storage/spert/public/datasets/"

_SCIERC = {
    "train.json": (
        "04970819bd215fce8c60b3a64fccca15388b49eab2010bdc5f6d322b463568c3",
        "a1e656c4de5d5552c1fba0e5416ad10541e711e0723cec71ffa11179aa33060d",
    ),
    "dev.json": (
        "61f21b224129e580a654b036ee6fffeeb1a0311f1009a38ea931c13612db040e",
        "56e16fa779f8315ad49826223c206803022f9a2148f8dc14ba8436748cca0a8a",
    ),
    "test.json": (
        "7424da64e6214a90e39b09e47a74b3ded57dde86b4a7f848b3625d2c8ecdfbe1",
        "82aaf0bf709c4da8bcaf28463e18fc6671eb7fe739f7312226dc18f3efff9989",
    ),
}
_ADE = {
    "ade_split_0_train.json": ("6624ac4d015c75f551aa15a43bd05e268082d98297d18269662737f7df358365",),
    "ade_split_0_test.json": ("6d6a3584d3876a35854ef703f7a7059363599ad7ed3ab9c3e6e449ae8a252e9a",),
    "ade_split_1_train.json": ("811befd6d23d2aeb7cff3469d4b22d0c58fa61557b03257986ea1559042d42fe",),
    "ade_split_1_test.json": ("532fa740c11466c54d06dfe4e2989bd800c046cb31c409f074b7b3d49cf99b23",),
    "ade_split_2_train.json": ("c13ff04545537879e1d2fa41ed25c4e5831bbd75d2c07a4d7c0e60d2691b5b25",),
    "ade_split_2_test.json": ("69c4844907809f4e76516d7e9b7f8f2fa5eab2bdf27ee0dc02bdb367e673f994",),
    "ade_split_3_train.json": ("1d65b2aab0da37d3125cb0a90f6c66ad05af4ebb6f4685c4ede242cfb587cb1e",),
    "ade_split_3_test.json": ("07e188e39118bd9644d4bb74ad841099853a5dfbecb035e5af2dc83a7d927495",),
    "ade_split_4_train.json": ("de8cdb999563697d330d97b9ac95a5ae1c83106eb812f25b12d807c6628f28a4",),
    "ade_split_4_test.json": ("937eff5f8982fff83655872fcf150876145e75a381dcedfc45e2411f47146edc",),
    "ade_split_5_train.json": ("474668717b0fbcb4cf6fda984b8897b2e66f2550c9a052187c6ece012960a6cf",),
    "ade_split_5_test.json": ("d01d706574d4921304d3b53a0b013fbe41d2f97439245cf768c503df1e70a9f3",),
    "ade_split_6_train.json": ("c3e41dea7c11c34da7f32be45ced3a162fff30abeb0939698937fe7a83446dca",),
    "ade_split_6_test.json": ("3e35e7278060f16103665a47db1480e305346f255872ced202617c6d8025bb01",),
    "ade_split_7_train.json": ("3839c5f7cfd5c9e260a3a60a9c79f6ed54d21d66288413c8a2c2d8e985e9081c",),
    "ade_split_7_test.json": ("6c4f25fffd1ce4fb1bf67bc54713b44f6e1abb9ca744d06a38ed88731a8d1371",),
    "ade_split_8_train.json": ("9c5c698bb7d5a72e11685a63de4a6b525e073eede445eaae0d44ce42166fffcc",),
    "ade_split_8_test.json": ("69fb620cc4f9fe4d35533dba74b7234ebb2c2e69a988a8945219563ad12feb3c",),
    "ade_split_9_train.json": ("e863f0b8a717364fd553e55e041ea89e2a52d116e5b047cbaa1882410ab0813f",),
    "ade_split_9_test.json": ("a02776d17963ada8aad5e1d4370e96d2478a8e44fd0944274ac0c44f4499b0ed",),
}
_CONLL04 = {
    "conll04_train.json": ("65c52d5b6134c72c44277c74c5ecb354bf33aa352fc7b856edf6bda0bb436eea",),
    "conll04_dev.json": ("3965a5110a79671fb74a78c0fd0113c4da6583c3833bd418c1ca414bb491e010",),
    "conll04_test.json": ("347f45cf181b5641d2373248a1af0592954415234f72536835dde1df1b504556",),
}

SOURCES: Mapping[Name, Source] = {
    "scierc": Source(  # about 700 MB, nearly all of it embeddings that are not kept
        "http://nlp.cs.washington.edu/sciIE/data/", _SCIERC, "sciERC_processed.tar.gz", "processed_data/json"
    ),
    "ade": Source(f"{_SPERT}ade/", _ADE),
    "conll04": Source(f"{_SPERT}conll04/", _CONLL04),
}
