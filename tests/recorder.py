"""What passes the boundaries of models and optimizers while a training runs in this process.

It looks at PyTorch's modules and optimizers alone, so a training loop may be written in any way.
"""
import csv
from typing import NamedTuple

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

MODELS = {"VAE", "Generator", "Discriminator", "FeatureExtractor", "Classifier", "LeNetEncoder2", "LeNetClassifier",
          "MultilinearMap"}


class Call(NamedTuple):
    """A forward pass of one of MODELS."""
    name: str               # the class, with a number behind it for the second, third … instance that is called
    inputs: torch.Tensor
    output: object
    training: bool
    random: torch.Tensor    # the state of the random numbers before it
    step: int               # how many steps of optimizers were taken before it


class Step(NamedTuple):
    """A step of an optimizer; the tensors by name, as "Generator.main.0.weight"."""
    gradients: dict
    before: dict            # all weights and statistics of the models that were called since the step before
    after: dict
    calls: list             # since the step before

    def of(self, name):
        """The calls of that model, in order."""
        return [call for call in self.calls if call.name == name]

    def load(self, name, module):
        """The new `module` with the weights that this model had before the step, in train mode."""
        module.load_state_dict(weights_of(self.before, name))
        return module.train().to(memory_format=torch.channels_last)     # as in training, so that rounding is the same


def weights_of(tensors, name):
    """The state_dict of the model of that name, from Step.before or Step.after."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


class Recorder:
    """Within it, `calls` and `steps` are kept in order; `start` is what each model's state was when it was first called."""

    def __init__(self):
        self.calls, self.steps, self.start, self._modules, self._pending = [], [], {}, {}, []

    def __enter__(self):
        self._handles = [register_module_forward_pre_hook(self._called), register_module_forward_hook(self._returned),
                         register_optimizer_step_pre_hook(self._steps), register_optimizer_step_post_hook(self._stepped)]
        return self

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()

    def _name(self, module):
        kind = type(module).__name__
        if module not in self._modules.values():
            several = sum(type(other).__name__ == kind for other in self._modules.values())
            self._modules[f"{kind}{several + 1 if several else ''}"] = module
        return next(name for name, other in self._modules.items() if other is module)

    def _called(self, module, inputs):
        if type(module).__name__ in MODELS:
            name = self._name(module)
            self.start.setdefault(name, {key: tensor.clone() for key, tensor in module.state_dict().items()})
            self._pending.append((inputs[0].detach().clone(), torch.get_rng_state()))

    def _returned(self, module, _, output):
        if type(module).__name__ in MODELS:
            inputs, random = self._pending.pop()
            output = output.detach().clone() if torch.is_tensor(output) else None
            self.calls.append(Call(self._name(module), inputs, output, module.training, random, len(self.steps)))

    def _state(self, names):
        return {f"{name}.{key}": tensor.clone() for name in names for key, tensor in self._modules[name].state_dict().items()}

    def _steps(self, optimizer, *_):
        names = {parameter: f"{name}.{key}" for name, module in self._modules.items()
                 for key, parameter in module.named_parameters()}
        gradients = {names[parameter]: parameter.grad.clone() for group in optimizer.param_groups
                     for parameter in group["params"] if parameter.grad is not None}
        self._before = gradients, self._state(self._modules)

    def _stepped(self, *_):
        since = [call for call in self.calls if call.step == len(self.steps)]
        self.steps.append(Step(*self._before, self._state(self._modules), since))


class Given:
    """In an optimizer's place: keeps the gradients of `modules`, {name: module}, then gives them the weights that they had
    after that `step`. So what follows in the same step starts from the same weights, however small errors would grow."""

    def __init__(self, step, modules):
        self.given, self.modules = step, modules

    def zero_grad(self):
        for module in self.modules.values():
            module.zero_grad()

    @torch.no_grad()
    def step(self):
        self.gradients = {}
        for name, module in self.modules.items():
            for key, parameter in module.named_parameters():
                if parameter.grad is not None:
                    self.gradients[f"{name}.{key}"] = parameter.grad.clone()
                parameter.copy_(self.given.after[f"{name}.{key}"])


def assert_same_gradients(found, expected, rtol=1e-4):
    """Up to rounding: of float32, through as many layers as these networks have."""
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        error = (found[name] - gradient).abs().max()
        assert error <= rtol * gradient.abs().max() + 1e-6 * largest, f"{name}: {error:.2g} of {gradient.abs().max():.2g}"


def assert_adam(steps, rates, betas=(0.9, 0.999)):
    """That these steps are those of torch.optim.Adam with the gradients that they had, at these learning rates."""
    optimizers = {}
    assert len(steps) == len(rates)
    for step, rate in zip(steps, rates):
        for name, gradient in step.gradients.items():
            if name not in optimizers:
                weight = torch.nn.Parameter(step.before[name].clone())
                optimizers[name] = weight, torch.optim.Adam([weight], betas=betas)
            weight, optimizer = optimizers[name]
            optimizer.param_groups[0]["lr"] = rate
            weight.grad = gradient
            optimizer.step()
            error = (step.after[name] - weight).abs().max()
            assert error <= 1e-3 * max(rates) + 1e-6 * weight.abs().max(), f"{name}: {error:.2g} at a rate of {rate}"


def metrics(folder):
    """The rows of a run's metrics.csv as numbers, without those that a row lacks."""
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
