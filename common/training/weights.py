"""Files of PyTorch, read with suspicion: weights for inference, and what else torch.save writes."""
import io
import pickle
import zipfile
from pathlib import Path

import torch

from common.cli import UserError
from common.files import RUN_FOLDERS, written_whole


def save_file(path, content, before=None):
    """torch.save, whole or not at all. With `before`, the file that was at `path` is kept there."""
    buffer = io.BytesIO()       # torch.save would tell a full disk from no other fault
    torch.save(content, buffer)
    with written_whole(path) as part:
        part.write_bytes(buffer.getbuffer())
        if before and path.is_file():
            path.replace(before)


def load_file(path, *names):
    """The content of a file of torch.save, on the CPU: with `names`, a dict that has a dict by each of them.

    Raises UserError if it is missing, damaged, something else or holds code.
    """
    try:
        return load_checked(path, *names)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:      # a damaged file can fail anywhere in the unpickler, in any way
        raise UserError(f"{path} is damaged, or not a PyTorch file ({reason_of(error)})") from None


def load_checked(path, *names):
    """As load_file, with the exception as it comes.

    Nothing but tensors and plain values is unpickled. torch.save writes a zip archive, which has a checksum (CRC-32) for
    each of its entries, but torch.load does not look at them.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {Path(name).name for name in archive.namelist()}
        if "data.pkl" not in parts or "constants.pkl" in parts:
            raise ValueError("it is a zip archive of something else, such as a program of torch.jit")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, which torch.save never does")
        if name := archive.testzip():
            raise ValueError(f"the checksum of {name} is wrong")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:      # torch's own words are advice to load it all the same
        raise ValueError("it holds other things than tensors and plain values, such as a whole module") from None
    if names and not (isinstance(content, dict) and all(isinstance(content.get(name), dict) for name in names)):
        is_checkpoint = isinstance(content, dict) and content.keys() >= {"parts", "epoch"}
        raise ValueError("it is a checkpoint, from which a run goes on; give the run's weights.pt" if is_checkpoint else
                         f"it lacks {' and '.join(names)}, which a run's weights.pt has")
    return content


def save_weights(path, meta, **modules):
    """Save the state of `modules` by name and `meta` (plain values: what inference must know) in one file."""
    save_file(path, {"meta": meta, "modules": {name: module.state_dict() for name, module in modules.items()}})


def load_weights(path, needs=None, **modules):
    """Load a file of save_weights into `modules`, set them to eval mode and return its meta.

    `needs`: {what the meta must say: the values that this may have}. Raises UserError if the file is missing, damaged (by its
    checksums) or another model's, lacks any of these, has numbers that are not finite, or holds code.
    """
    try:
        state = load_checked(path, "meta", "modules")
        if missing := modules.keys() - state["modules"].keys():
            raise ValueError(f"it has no {', '.join(sorted(missing))}, but {', '.join(state['modules'])}")
        for name, module in modules.items():
            given = state["modules"][name]
            try:
                module.load_state_dict(given)
            except RuntimeError:        # whose first line says no more than that
                raise ValueError(f"the {name} in it has other layers or sizes") from None
            if any(given[part].is_floating_point() != own.is_floating_point() for part, own in module.state_dict().items()):
                raise ValueError(f"the {name} in it has numbers of another kind")
            if not is_finite(module.state_dict()):
                raise ValueError(f"the {name} in it has numbers that are not finite")
            module.eval()
        meta, needs = state["meta"], needs or {}
        if missing := needs.keys() - meta.keys():
            raise ValueError(f"it does not say its {', '.join(sorted(missing))}")
        for name, values in needs.items():
            # by its type, too: 12.0 is in range(99), and 1 equals True
            if type(meta[name]) is not type(values[0]) or meta[name] not in values:
                raise ValueError(f"its {name} is {meta[name]!r}, which no training gives it")
        return meta
    except FileNotFoundError:
        raise UserError(f"the weights {path} do not exist") from None
    except Exception as error:      # a damaged or foreign file can fail anywhere in the unpickler, in any way
        raise UserError(f"{path} does not hold the weights of this model ({reason_of(error)})") from None


def is_finite(state):
    """Whether all tensors in a state_dict (dicts and lists of anything) are without NaN and infinity."""
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(is_finite, state.values()))
    return not isinstance(state, (list, tuple)) or all(map(is_finite, state))


def demand_finite(answers):
    """The `answers` of a network in use, any tensor. Raises UserError if they are not finite: finite weights can give such."""
    if not is_finite(answers):
        raise UserError("the network's answers are not finite: its weights are damaged, or were trained at too large a "
                        "learning rate")
    return answers


def reason_of(error):
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".: ")


def find_weights(given, shipped, problem, run):
    """The weights to use: the file `given` by the user, else the file `shipped` with the code if it is there.

    Raises UserError if neither is there; it says how to train the `run` (a folder's name) of the `problem` (a package).
    """
    if given is not None:
        return Path(given)
    if not shipped.is_file():
        raise UserError(f"there are no trained weights at {shipped}; train with `bash {problem}/run.sh`, then add --weights "
                        f"{RUN_FOLDERS / 'report' / run / 'weights.pt'}")
    return shipped
