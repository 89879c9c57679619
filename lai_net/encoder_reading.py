"""How `transformers` is let read the files of an encoder, its weights or its tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager

from lai_net.errors import InputError, first_line


@contextmanager
def reading_encoder(name: str, part: str) -> Iterator[None]:
    """Inside, `transformers` reads a part of an encoder: it reports nothing, and its errors are told as ours.

    Raises:
        InputError: a file is damaged, or of something else. What the machine is at fault for stays as it is.
    """
    from transformers.utils import logging

    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # of transformers, tokenizers, safetensors and json, of many kinds
        of_machine = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
        if of_machine:
            raise
        raise InputError(
            f"encoder {name!r}: its {part} cannot be read ({first_line(error)}); give a whole BERT"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()
