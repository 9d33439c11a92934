"""Where a training runs: the device, its precision, and the images that it holds or has streamed to it."""
import math
import warnings
from pathlib import Path

import torch

from common.cli import UserError, warn
from common.training.distributed import processes, use_own_gpu
from common.training.recording import needs_host
from common.training.weights import reason_of

RESIDENT_SHARE = 0.5    # of a GPU's free memory, up to which a split's images may be held there; training needs the rest


def pick_device(name="auto"):
    """The torch.device of that name; "auto" is CUDA where there is one, else the CPU. Raises UserError if unusable."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        use_own_gpu(device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        raise UserError(f"the device {name} cannot be used ({reason}); try --device cpu") from None
    torch.backends.cudnn.benchmark = True       # a run's batches have one shape, so the search for kernels pays
    return device


def pick_precision(device, name="auto"):
    """Either "float32" or "bfloat16"; "auto" is bfloat16 where the device multiplies it in hardware."""
    if name != "auto":
        return name
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        try:
            processor = Path("/proc/cpuinfo").read_text()
        except OSError:
            processor = ""
        fast = device.type == "cpu" and ("avx512_bf16" in processor or "amx_bf16" in processor)
    return "bfloat16" if fast else "float32"


def compiling_pays(device, pixels):
    """Whether `compiled` makes a run faster in which DANN's networks are trained on so many pixels in all.

    On a CUDA GPU, by one process, where torch.compile works. On an H200 it takes up to 13 s and saves 14 ns a pixel.
    """
    if device.type != "cuda" or processes() > 1 or pixels <= 1e9:
        return False
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:      # no C compiler, a GPU or a Python that it does not support …
        warn(f"torch.compile does not work here ({reason_of(error)}), so steps take longer")
        return False
    return True


def compiled(modules):
    """The modules by torch.compile, for batches of few sizes; they share the weights of those given."""
    warnings.filterwarnings("ignore", module=r"torch\._inductor")       # what it tells its developers
    return [torch.compile(module, dynamic=False) for module in modules]


def hardware_name(device):
    """The GPU's name, or how many threads of the CPU are used, with the number of processes where there are several."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {threads} thread{'s' * (threads > 1)}"
    return f"{processes()} × {name}" if processes() > 1 else name


def autocast(device, precision):
    """A context for forward passes in `precision`; it can be entered again and again."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def on_device(images, device):
    """The images uint8 [N, 3, H, W] of a split for training: result[indices], indices int64 [B], is a batch on `device`.

    Images that fit are held on the device. Others are streamed: each batch is read from the memory map when it is asked for.
    """
    if images.nbytes <= RESIDENT_SHARE * _free_memory(device):
        return images.to(device)        # on a CPU the memory map itself
    return StreamedImages(images, device)


def _free_memory(device):
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


class StreamedImages:
    """Images uint8 [N, 3, H, W] in the computer's memory or on its disk, whose batches are brought to `device`."""

    def __init__(self, images, device):
        self.images, self.device = images, device

    def __len__(self):
        return len(self.images)

    def __getitem__(self, indices):
        needs_host()        # as it has to know the indices, and so waits for the device here, once a step
        batch = self.images[indices.cpu()]
        return batch.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else batch.to(self.device)
