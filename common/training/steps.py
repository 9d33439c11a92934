"""What a loop calls at each step: batches, the learning rate's schedule, means of losses."""
import math

import torch
from torch.nn import functional as F

from common.training.distributed import mean, share, whole

SCHEDULES = ("constant", "cosine", "one-cycle")


def shuffled_batches(count, batch_size, steps, device):
    """Random indices int64 [steps, batch_size] into `count` items, as one fresh permutation after the other.

    Each item appears before any appears again, so a small set is cycled evenly beside a larger one. Of several processes,
    each gets its share of every batch.
    """
    repeats = math.ceil(steps * batch_size / count)
    order = torch.cat([torch.randperm(count, device=device) for _ in range(repeats)])
    return share(order[:steps * batch_size].view(steps, batch_size), dim=1)


def random_batch(count, batch):
    """Random indices int64 [N] into `count` items, for as many as the `batch` [N, …] of this process has; repetitions occur."""
    return share(torch.randint(count, (whole(len(batch)),), device=batch.device))


def schedule_of(kind, steps):
    """The factor on the learning rate at each of `steps` steps: float64 [steps], of one of SCHEDULES.

    "cosine" falls from 1 to 0 along half a cosine (Loshchilov & Hutter 2017, eq. 5, without restarts). "one-cycle" rises from
    a 25th to 1 over the first twentieth, then does the same (Smith & Topin 2018, with half cosines for lines).
    """
    step, rise = torch.arange(steps, dtype=torch.float64), steps / 20
    fall = lambda progress: (1 + torch.cos(math.pi * progress)) / 2
    return {"constant": torch.ones(steps, dtype=torch.float64),
            "cosine": fall(step / steps),
            "one-cycle": torch.where(step < rise, 1 - 24 / 25 * fall(step / rise), fall((step - rise) / (steps - rise)))}[kind]


class Adam(torch.optim.Adam):
    """PyTorch's, in one kernel, and such that its steps can be recorded (see recording.py)."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999)):
        super().__init__(parameters, lr, betas, fused=True, capturable=True)


class ScheduledAdam:
    """Adam and its learning rate's schedule, see `schedule_of`.

    Of several `phases`, the numbers of their steps, each has the whole schedule. `steps_done`, int64 of no dimension on the
    parameters' device, counts the steps.
    """

    def __init__(self, parameters, lr, schedule, *phases, betas=(0.9, 0.999)):
        self.adam = Adam(parameters, lr, betas)
        device = self.adam.param_groups[0]["params"][0].device
        # tensors, because they differ from step to step: see recording.py
        self.rates = (lr * torch.cat([schedule_of(schedule, steps) for steps in phases])).to(device, torch.float32)
        self.rate, self.steps_done = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
        self._use_rate()

    def _use_rate(self):
        for group in self.adam.param_groups:
            group["lr"] = self.rate

    def descend(self, loss):
        """Take a step down the gradient of `loss`."""
        self.rate.copy_(self.rates.take(self.steps_done))
        self.steps_done += 1
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "steps_done": self.steps_done}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        self._use_rate()
        self.steps_done.fill_(int(state["steps_done"]))


def accuracy_of(logits, labels):
    """The fraction of the rows of logits [N, K] whose largest is that of the label, of `labels` int64 [N]; on their device."""
    return (logits.argmax(dim=1) == labels).float().mean()


class Averages:
    """Means of losses over an epoch and over all processes.

    They wait on the device: reading each would make the host wait for each step. All processes must read at the same steps.
    """

    def __init__(self):
        self.sums, self.count, self._names, self._unread = {}, 0, (), []

    def add(self, **values):
        """Add the losses of one step, tensors of no dimension; the same names each time."""
        self._names = tuple(values)
        self.put(torch.stack([value.detach() for value in values.values()]))

    def put(self, losses):
        """Add the losses of one more step, float [number of names]."""
        self._unread.append(losses)

    def take_back(self):
        """What was last added, as `put` takes it, and as if it had not been added."""
        return self._unread.pop()

    def read(self):
        """Fetch what was added since the last call: a dict of floats for each step. The host waits for the device."""
        rows = mean(torch.stack(self._unread)).tolist() if self._unread else []
        steps = [dict(zip(self._names, row)) for row in rows]
        for step in steps:
            for name, value in step.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += len(steps)
        self._unread = []
        return steps

    def means(self):
        self.read()
        return {name: total / self.count for name, total in self.sums.items()}


def binary_cross_entropy(probabilities, targets):
    """F.binary_cross_entropy, but NaN gives a NaN loss, for which the run stops with a reason, rather than an assertion.

    On CUDA that assertion would also take the whole process with it.
    """
    not_a_number = 0 * probabilities.sum()      # or 0
    return F.binary_cross_entropy(probabilities.nan_to_num(), targets) + not_a_number
