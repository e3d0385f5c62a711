"use strict";
// The generators of progan/networks/stylegan.py and stylegan2.py. w: a style.

const BLUR = [1 / 4, 1 / 2, 1 / 4], SMOOTH = [1 / 8, 3 / 8, 3 / 8, 1 / 8];

/** The style between those of two seeds. */
function styleOf({ from, to, position, label }, tensors, network) {
  const [a, b] = [from, to].map((seed) => mapped(latentsOfSeed(seed, network.latentSize), label, tensors));
  return a.map((value, i) => value + position * (b[i] - value));
}

/** The mapping network. */
function mapped(latents, label, tensors) {
  const begin = label * latents.length;
  const embedded = tensors.labels?.values.subarray(begin, begin + latents.length) ?? [];
  let w = Float32Array.of(...latents, ...embedded);
  pixelNorm(w, w.length);
  for (let number = 0; `mapping.dense${number}.weight` in tensors; number++) {
    w = leakyReLU(dense(w, ...layerOf(tensors, `mapping.dense${number}`)), 0.2);
  }
  return w;
}

/** The fixed noise of a layer, by map and pixel; none if it has none. */
function noiseOf(name, tensors) {
  const strength = tensors[`${name}.noise.strength`]?.values, fixed = tensors[`${name}.noise.fixed`]?.values;
  return (map, pixel) => fixed ? strength[map % strength.length] * fixed[pixel] : 0;
}

/** Each map convolved with the taps along both sides, with `padding` zeros around it. */
function filtered(x, maps, side, taps, padding) {
  const size = side + 2 * padding - taps.length + 1, y = new Float32Array(maps * size * size);
  const at = (map, row, column) => row < 0 || column < 0 || row >= side || column >= side
    ? 0 : x[(map * side + row) * side + column];
  y.forEach((_, i) => {
    const column = i % size - padding, row = Math.floor(i / size) % size - padding;
    const map = Math.floor(i / size / size);
    taps.forEach((tap, down) => taps.forEach((other, right) => {
      y[i] += tap * other * at(map, row + down, column + right);
    }));
  });
  return y;
}

// ---------------------------------------------------------------------------------------------------------
// StyleGAN

function* styleganImage(request, { resolution, alpha, tensors }, network) {
  const w = styleOf(request, tensors, network), truncated = truncate(w.slice(), tensors.centers, request);
  let layer = 0, x, before;
  const next = () => layer++ < network.truncationCutoff ? truncated : w; // the style of the next layer
  for (let side = 4; side <= resolution; side *= 2) {
    const block = `blocks.${levelKey(side)}`, weight = tensors[`${block}.conv1.weight`], [maps] = weight.shape;
    const style = next();
    if (side === 4) {
      x = firstMaps(style, tensors);
    } else {
      before = x;
      const grown = tensors[`${block}.conv0.weight`], padded = bordered(x, grown.shape[1], side / 2, 2);
      x = filtered(yield* convolution(padded, side, grown), maps, side, BLUR, 1);
    }
    epilogue(x, style, `${block}.epilogue0`, tensors);
    x = yield* convolution(bordered(x, maps, side, 1), side, weight);
    epilogue(x, next(), `${block}.epilogue1`, tensors);
  }
  const rgb = (maps, side) => pointwise(maps, ...layerOf(tensors, `to_rgb.${levelKey(side)}`));
  const image = rgb(x, resolution);
  if (alpha < 1) fade(image, rgb(before, resolution / 2), resolution, alpha);
  return image;
}

/** A learnt constant, or a layer of the style. */
function firstMaps(w, tensors) {
  const name = "blocks.r0004.input";
  return tensors[`${name}.constant`]?.values.slice() ?? dense(w, ...layerOf(tensors, `${name}.dense`));
}

/** Noise, bias, leaky ReLU, and AdaIN with a style, in place. */
function epilogue(x, w, name, tensors) {
  const bias = tensors[`${name}.bias`].values, maps = bias.length, pixels = x.length / maps;
  const noise = noiseOf(name, tensors);
  const style = dense(w, ...layerOf(tensors, `${name}.style`)); // y_s - 1, then y_b
  x.forEach((_, i) => {
    const map = Math.floor(i / pixels);
    x[i] += bias[map] + noise(map, i % pixels);
  });
  leakyReLU(x, 0.2);
  for (let map = 0; map < maps; map++) {
    const y = x.subarray(map * pixels, (map + 1) * pixels);
    const mean = y.reduce((sum, value) => sum + value, 0) / pixels;
    const variance = y.reduce((sum, value) => sum + (value - mean) ** 2, 0) / pixels;
    const scale = (1 + style[map]) / Math.sqrt(variance + 1e-8);
    y.forEach((value, i) => { y[i] = scale * (value - mean) + style[maps + map]; });
  }
}

// ---------------------------------------------------------------------------------------------------------
// StyleGAN2

function* stylegan2Image(request, { resolution, tensors }, network) {
  const w = truncate(styleOf(request, tensors, network), tensors.centers, request);
  let x = tensors["blocks.r0004.constant"].values, image;
  for (let side = 4; side <= resolution; side *= 2) {
    const block = `blocks.${levelKey(side)}`;
    if (side > 4) {
      image = filtered(bordered(image, network.channels, side / 2, 2), network.channels, side + 2, BLUR, 0);
      x = yield* styledConv(x, w, `${block}.conv0`, tensors, side, true);
    }
    x = yield* styledConv(x, w, `${block}.conv1`, tensors, side, false);
    const added = styledRGB(x, w, `to_rgb.${levelKey(side)}`, tensors);
    image = image ? image.map((value, i) => value + added[i]) : added;
  }
  return image;
}

/** A modulated convolution, noise, bias and leaky ReLU. up: it doubles the size; `side` is that afterwards. */
function* styledConv(x, w, name, tensors, side, up) {
  const weight = tensors[`${name}.conv.weight`], [outputs, inputs] = weight.shape, pixels = side * side;
  const style = modulation(w, `${name}.conv`, tensors), scaled = modulated(x, style);
  let sums;
  if (up) {
    sums = yield* convolution(spread(scaled, inputs, side / 2), side + 1, weight);
    sums = filtered(sums, outputs, side + 1, SMOOTH, 1);
  } else {
    sums = yield* convolution(bordered(scaled, inputs, side, 1), side, weight);
  }
  const factors = demodulation(weight, style), gain = up ? 4 : 1;
  const noise = noiseOf(name, tensors), bias = tensors[`${name}.bias`].values;
  const y = sums.map((sum, i) => {
    const map = Math.floor(i / pixels);
    return Math.SQRT2 * (gain * factors[map] * sum + noise(map, i % pixels) + bias[map]);
  });
  return leakyReLU(y, 0.2);
}

/** What a level adds to the image. */
function styledRGB(x, w, name, tensors) {
  const weight = tensors[`${name}.conv.weight`], style = modulation(w, `${name}.conv`, tensors);
  return pointwise(modulated(x, style), weight, tensors[`${name}.bias`]);
}

/** The factors s of the input maps. */
function modulation(w, name, tensors) {
  return dense(w, ...layerOf(tensors, `${name}.style`)).map((value) => value + 1);
}

/** Each map times its factor. */
function modulated(x, factors) {
  const pixels = x.length / factors.length;
  return x.map((value, i) => factors[Math.floor(i / pixels)] * value);
}

/** The factors of the output maps, which undo what the style does to their size. */
function demodulation(weight, style) {
  const [outputs, inputs] = weight.shape;
  return Float32Array.from({ length: outputs }, (_, output) => {
    let sum = 1e-8;
    for (let i = 0; i < 9 * inputs; i++) {
      sum += (style[Math.floor(i / 9)] * weight.values[9 * inputs * output + i]) ** 2;
    }
    return 1 / Math.sqrt(sum);
  });
}

/** Zeros put between the pixels, and two around them. */
function spread(x, maps, side) {
  const wide = 2 * side + 3, result = new Float32Array(maps * wide * wide);
  x.forEach((value, i) => {
    const column = i % side, row = Math.floor(i / side) % side, map = Math.floor(i / side / side);
    result[(map * wide + 2 * row + 2) * wide + 2 * column + 2] = value;
  });
  return result;
}
