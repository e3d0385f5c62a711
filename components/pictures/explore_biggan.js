"use strict";
// The generator of progan/networks/biggan.py, its weights divided by their spectral norms.

function* bigganImage(request, { resolution, tensors }, network) {
  const latents = latentsOf(request, network).map((value) => request.truncation * value);
  const size = tensors.embedding?.shape[1] ?? 0, begin = request.label * size;
  const embedded = tensors.embedding?.values.subarray(begin, begin + size) ?? [];
  let [used, ...chunks] = network.chunks, side = 4;
  let x = dense(latents.subarray(0, used), ...layerOf(tensors, "blocks.r0004"));
  for (const chunk of chunks) {
    const condition = Float32Array.of(...embedded, ...latents.subarray(used, used + chunk));
    [used, side] = [used + chunk, 2 * side];
    x = yield* bigganBlock(x, condition, `blocks.${levelKey(side)}`, tensors, side);
  }
  const [weight, bias] = layerOf(tensors, `to_rgb.${levelKey(resolution)}.conv`);
  normalize(x, [], `to_rgb.${levelKey(resolution)}.norm`, tensors);
  return yield* convolution(bordered(leakyReLU(x, 0), weight.shape[1], side, 1), side, weight, bias);
}

/** Double the size, to `side`, then attend. */
function* bigganBlock(x, condition, block, tensors, side) {
  const [weight, bias] = layerOf(tensors, `${block}.conv0`), [maps, inputs] = weight.shape;
  const shortcut = pointwise(x, ...layerOf(tensors, `${block}.shortcut`));
  const before = leakyReLU(normalize(x, condition, `${block}.norm0`, tensors), 0);
  let y = yield* convolution(bordered(before, inputs, side / 2, 2), side, weight, bias);
  leakyReLU(normalize(y, condition, `${block}.norm1`, tensors), 0);
  y = yield* convolution(bordered(y, maps, side, 1), side, ...layerOf(tensors, `${block}.conv1`));
  y.forEach((_, i) => { y[i] += shortcut[indexBelow(i, side)]; });
  return `${block}.attention.gamma` in tensors ? attended(y, `${block}.attention`, tensors, side) : y;
}

/** Batch norm by standing statistics, in place. Gains and biases are linear in the condition; if it is empty, learnt. */
function normalize(x, condition, name, tensors) {
  const [mean, variance] = ["mean", "variance"].map((part) => tensors[`${name}.${part}`].values);
  const [gain, bias] = ["gain", "bias"].map((part) => condition.length
    ? dense(condition, tensors[`${name}.${part}.weight`]) : tensors[`${name}.${part}.values`].values);
  const pixels = x.length / mean.length;
  x.forEach((value, i) => {
    const map = Math.floor(i / pixels);
    x[i] = (value - mean[map]) / Math.sqrt(variance[map] + 1e-5) * (1 + gain[map]) + bias[map];
  });
  return x;
}

/** Self-attention among the pixels, as often as its weight γ says. */
function attended(x, name, tensors, side) {
  const projected = (part) => pointwise(x, tensors[`${name}.${part}.weight`]);
  const queries = projected("theta");
  const [keys, values] = ["phi", "g"].map((part) => pooled(projected(part), side));
  const pixels = side * side, places = pixels / 4, size = queries.length / pixels;
  const result = new Float32Array(values.length * 4);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const weights = softmax(Float32Array.from({ length: places }, (_, place) => {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += queries[i * pixels + pixel] * keys[i * places + place];
      return sum;
    }));
    for (let map = 0; map < values.length / places; map++) {
      for (let place = 0; place < places; place++) {
        result[map * pixels + pixel] += weights[place] * values[map * places + place];
      }
    }
  }
  const added = pointwise(result, tensors[`${name}.o.weight`]), [gamma] = tensors[`${name}.gamma`].values;
  return x.map((value, i) => value + gamma * added[i]);
}

/** The largest of each 2×2 pixels. */
function pooled(x, side) {
  const y = new Float32Array(x.length / 4).fill(-Infinity);
  x.forEach((value, i) => { y[indexBelow(i, side)] = Math.max(y[indexBelow(i, side)], value); });
  return y;
}

function softmax(x) {
  const largest = Math.max(...x), exponentials = x.map((value) => Math.exp(value - largest));
  const sum = exponentials.reduce((sum, value) => sum + value, 0);
  return exponentials.map((value) => value / sum);
}
