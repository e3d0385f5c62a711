"use strict";
// The generator of progan/networks/progan.py, its layers folded into plain ones.

function* proganImage(request, { resolution, alpha, tensors }, network) {
  const inputs = inputsOf(request, network);
  let side = 4, maps = tensors["blocks.r0004.dense.bias"].shape[0], before;
  let x = finish(dense(inputs, ...layerOf(tensors, "blocks.r0004.dense")), maps, network);
  function* convolved(name, scale) {
    const [weight, bias] = layerOf(tensors, name), padded = bordered(x, maps, side, scale);
    [side, maps] = [side * scale, weight.shape[0]];
    return finish(yield* convolution(padded, side, weight, bias), maps, network);
  }
  if (network.convsPerBlock > 1) x = yield* convolved("blocks.r0004.conv", 1);
  truncate(x, tensors.centers, request);
  while (side < resolution) {
    const block = `blocks.${levelKey(2 * side)}`;
    before = x;
    x = yield* convolved(`${block}.conv0`, 2);
    if (network.convsPerBlock > 1) x = yield* convolved(`${block}.conv1`, 1);
  }
  const image = pointwise(x, ...layerOf(tensors, `to_rgb.${levelKey(side)}`));
  if (alpha < 1) fade(image, pointwise(before, ...layerOf(tensors, `to_rgb.${levelKey(side / 2)}`)), side, alpha);
  return image;
}

/** The input of the first layer: latents, normalised or not, then one-hot labels. request: see `makeImage`. */
function inputsOf(request, network) {
  const latents = latentsOf(request, network);
  const labels = Float32Array.from({ length: network.labels }, (_, i) => (i === request.label ? 1 : 0));
  const normed = network.latentNorm === "before-labels" ? pixelNorm(latents, latents.length) : latents;
  const inputs = Float32Array.of(...normed, ...labels);
  return network.latentNorm === "with-labels" ? pixelNorm(inputs, inputs.length) : inputs;
}

/** Activation and normalisation, in place. */
function finish(x, maps, network) {
  leakyReLU(x, network.activation === "leaky-relu" ? 0.2 : 0);
  return network.pixelNorm ? pixelNorm(x, maps) : x;
}
