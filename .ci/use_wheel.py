"""What a user does first, with the installed package in an empty folder: generate, train, save, load, predict."""

import os

import jax
import numpy as np
import optax

import surrogax as sx

assert "site-packages" in sx.__file__ and not os.listdir(), "run this with the installed wheel, in an empty folder"
darcy = sx.problem("darcy", a=sx.random.Threshold(12, 3))
train, test = sx.generate(darcy, n=12, grid=16, key=jax.random.key(0)).split(train=8, test=4)
task = sx.Task.fit(train, inputs="a", targets="u")
model = sx.FNO(task, width=4, modes=4, depth=1, key=jax.random.key(1))
result = sx.fit(model, train, val=test, optimizer=optax.adam(1e-3), epochs=2, batch_size=4)
result.best.save("fno.sgx")
prediction = sx.load("fno.sgx").predict(test)["u"]
assert prediction.shape == (4, 16, 16) and np.isfinite(prediction).all()
np.testing.assert_array_equal(prediction, result.best.predict(test)["u"])
print("the wheel works: generated, trained, saved, loaded, predicted")
