"""A small denoiser that is trained in place: periodic fields on 64 points, tanh of a Gaussian field."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

POINTS = 64


class SmallDenoiser(eqx.Module):
    """The preconditioning of Karras et al. (2022) around two hidden layers of 256, modulated by the noise level."""

    layers: list
    modulation: eqx.nn.MLP
    std: float = eqx.field(static=True)

    @classmethod
    def initial(cls, key, std: float) -> "SmallDenoiser":
        keys = jax.random.split(key, 4)
        sizes = ((POINTS, 256), (256, 256), (256, POINTS))
        layers = [eqx.nn.Linear(*s, key=k, dtype=jnp.float32) for s, k in zip(sizes, keys, strict=False)]
        modulation = eqx.nn.MLP(2, 2 * 256, 64, 1, activation=jax.nn.gelu, key=keys[3], dtype=jnp.float32)
        return cls(layers, modulation, std)

    def denoise(self, x, sigma, condition=None):
        """Of one field `(points, 1)`."""
        return self.of_points(x[..., 0], sigma)[..., None]

    def of_points(self, x, sigma):
        norm = jnp.sqrt(sigma**2 + self.std**2)
        c = jnp.log(sigma) / 4
        scales = self.modulation(jnp.stack([c, jnp.tanh(c)]).astype(x.dtype)).reshape(2, -1)
        h = x / norm
        for layer, scale in zip(self.layers[:-1], scales, strict=True):
            h = jax.nn.gelu(layer(h) * (1 + scale))
        return (self.std / norm) ** 2 * x + sigma * self.std / norm * self.layers[-1](h)


def fields(rng, n: int) -> np.ndarray:
    k = 2 * np.pi * np.fft.rfftfreq(POINTS, 1 / POINTS)
    amplitude = (k**2 + 25.0) ** -0.75
    g = np.fft.irfft(amplitude * np.fft.rfft(rng.standard_normal((n, POINTS))), POINTS)
    return np.tanh(1.5 * g / g.std())


def trained_denoiser(steps: int, batch: int = 128) -> SmallDenoiser:
    """After `steps` steps of Adam on denoising with log s ~ N(−1.2, 1.6²), in float32; its arrays are returned as float64."""
    data = jnp.asarray(fields(np.random.default_rng(40), 4096), jnp.float32)
    model = SmallDenoiser.initial(jax.random.key(41), float(data.std()))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def loss(model, key):
        a, b, c = jax.random.split(key, 3)
        x = data[jax.random.choice(a, len(data), (batch,))]
        s = jnp.exp(1.6 * jax.random.normal(b, (batch,), jnp.float32) - 1.2)
        noise = jax.random.normal(c, x.shape, jnp.float32)
        found = jax.vmap(model.of_points)(x + s[:, None] * noise, s)
        return jnp.mean((s**-2 + model.std**-2)[:, None] * (found - x) ** 2)

    @eqx.filter_jit
    def step(model, state, key):
        gradient = eqx.filter_grad(loss)(model, key)
        updates, state = optimizer.update(gradient, state)
        return eqx.apply_updates(model, updates), state

    state = optimizer.init(eqx.filter(model, eqx.is_array))
    for i in range(steps):
        model, state = step(model, state, jax.random.fold_in(jax.random.key(42), i))
    return jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, model)
