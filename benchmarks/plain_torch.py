"""The objective of `kjko.methods.jko` and its fit by Adam, as one would write them in PyTorch."""

from typing import Any

import numpy as np
import torch

H, STEPS, RATE = 0.1, 50, 1e-3


class Theirs:
    """The same in plain PyTorch. `jacobian`: "double-backward" or "tangents"."""

    def __init__(
        self, c: Any, ours: Any, log_det: str, jacobian: str, threads: int, compiled: bool
    ):
        def tensor(array):
            return torch.from_numpy(np.array(array))

        self.c, self.log_det, self.jacobian, self.threads = c, log_det, jacobian, threads
        stage = ours.stage
        self.x, self.v, self.log_f = (tensor(a) for a in (stage.x, stage.v, stage.log_f))
        leaves = [a for layer in ours.control.layers for a in (layer.weight, layer.bias)]
        self.parameters = [tensor(a).requires_grad_() for a in leaves]
        self.start = [p.detach().clone() for p in self.parameters]
        self.objective = torch.compile(self.loss, dynamic=False) if compiled else self.loss

    def activate(self, a):
        if self.c.activation == "tanh":
            y = torch.tanh(a)
            return y, 1 - y * y
        slope = torch.where(a > 0, 1.0, 0.01)
        return a * slope, slope

    def tangents(self):
        """u and ∇ᵥu (as [k, n, i] = ∂u_i/∂v_k), tangents carried along."""
        layers = list(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        y = torch.cat([self.x, self.v], dim=1)
        t = torch.eye(self.c.d_x + self.c.d)[self.c.d_x :, None, :]
        for weight, bias in layers[:-1]:
            y, slope = self.activate(y @ weight.T + bias)
            t = slope * (t @ weight.T)
        weight, bias = layers[-1]
        return y @ weight.T + bias, t @ weight.T

    def double_backward(self):
        """The same by d reverse sweeps, kept in the graph."""
        v = self.v.detach().requires_grad_()
        y = torch.cat([self.x, v], dim=1)
        f = torch.tanh if self.c.activation == "tanh" else torch.nn.functional.leaky_relu
        for weight, bias in zip(self.parameters[:-2:2], self.parameters[1:-2:2], strict=True):
            y = f(y @ weight.T + bias)
        u = y @ self.parameters[-2].T + self.parameters[-1]
        rows = [torch.autograd.grad(u[:, i].sum(), v, create_graph=True) for i in range(self.c.d)]
        return u, torch.stack([row for (row,) in rows], dim=2).permute(1, 0, 2)

    def response(self):
        return self.tangents() if self.jacobian == "tangents" else self.double_backward()

    def determinant(self, m):
        eye = torch.eye(self.c.d)
        m = eye[:, None, :] + H * m
        return m[0, :, 0] if self.c.d == 1 else (torch.linalg.cross(m[0], m[1]) * m[2]).sum(1)

    def loss(self):
        u, m = self.response()
        square = (u * u).sum(dim=1)
        kinetic = H * (self.v * u).sum(dim=1) + 0.5 * H**2 * square
        if self.log_det == "linear":
            log_det = H * sum(m[k, :, k] for k in range(self.c.d))
        else:
            det = self.determinant(m)
            r = det / 0.05 - 1
            below = np.log(0.05) + r - 0.5 * r**2
            log_det = torch.where(det > 0.05, torch.log(det.clamp_min(0.05)), below)
        return torch.mean(0.5 * H * square + kinetic - log_det)

    def gradient(self):
        torch.set_num_threads(self.threads)
        loss = self.objective()
        return loss, torch.autograd.grad(loss, self.parameters)

    def step(self):
        torch.set_num_threads(self.threads)
        with torch.no_grad():
            for parameter, start in zip(self.parameters, self.start, strict=True):
                parameter.copy_(start)
        optimiser = torch.optim.Adam(self.parameters, lr=RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            self.objective().backward()
            optimiser.step()
        u, m = (a.detach() for a in self.response())
        log_det = torch.log(self.determinant(m)) if self.log_det == "exact" else None
        if log_det is None:
            log_det = H * sum(m[k, :, k] for k in range(self.c.d))
        return self.x, self.v + H * u, self.log_f - log_det
