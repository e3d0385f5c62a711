// The generator of explore_progan.js as shaders. Features are float32, [maps, side, side].
// Before this stand SLOPE, of the activation below zero, CHANNELS and TANH: see explore_webgpu.js.

struct Layer {
  inputs: u32, outputs: u32, // maps
  side: u32, // of the output, in pixels
  scale: u32, // each pixel of the input is repeated scale × scale times
  weight: u32, bias: u32, // where they begin in the weights
  half: u32, // 1: the weights are float16, two in a word
  alpha: f32,
}
struct Request { truncation: f32, label: f32 }

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<uniform> request: Request;
@group(0) @binding(2) var<storage> weights: array<u32>;
@group(0) @binding(3) var<storage> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage> previous: array<f32>;
@group(0) @binding(6) var<storage, read_write> pixels: array<u32>;

fn weight(i: u32) -> f32 {
  if (layer.half == 1) { return unpack2x16float(weights[i / 2])[i % 2]; }
  return bitcast<f32>(weights[i]);
}

fn activation(sum: f32) -> f32 { return select(SLOPE * sum, sum, sum > 0f); }

// Latents and labels to the first 4×4 maps, with one bias per map.
@compute @workgroup_size(64)
fn dense(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= 16 * layer.outputs) { return; }
  var sum = weight(layer.bias + id.x / 16);
  for (var j = 0u; j < layer.inputs; j++) { sum += weight(layer.weight + id.x * layer.inputs + j) * x[j]; }
  y[id.x] = activation(sum);
}

// A 3×3 convolution. A workgroup makes TILE × TILE pixels of 16 maps, from CHUNK maps of the input at a time.
const TILE: u32 = 8;
const WIDE: u32 = TILE + 2; // with a border
const CHUNK: u32 = 8;
var<workgroup> tile: array<f32, CHUNK * WIDE * WIDE>; // [map, row, column]
var<workgroup> kernels: array<vec4f, CHUNK * 9 * 4>; // [map, tap, four outputs]

@compute @workgroup_size(TILE, TILE)
fn convolve(
  @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32, @builtin(global_invocation_id) id: vec3u,
) {
  var a: vec4f; var b: vec4f; var c: vec4f; var d: vec4f; // the sums of the 16 maps
  for (var first = 0u; first < layer.inputs; first += CHUNK) {
    for (var i = index; i < CHUNK * WIDE * WIDE; i += TILE * TILE) {
      let corner = vec2i(TILE * group.xy) - 1;
      tile[i] = enlarged(first + i / (WIDE * WIDE), corner + vec2i(vec2u(i % WIDE, i / WIDE % WIDE)));
    }
    for (var i = index; i < CHUNK * 9 * 4; i += TILE * TILE) {
      kernels[i] = kernel(16 * group.z + i % 4 * 4, first + i / 36, i / 4 % 9);
    }
    workgroupBarrier();
    var k = 0u;
    for (var map = 0u; map < CHUNK; map++) {
      for (var row = 0u; row < 3; row++) {
        for (var column = 0u; column < 3; column++) {
          let value = tile[(map * WIDE + local.y + row) * WIDE + local.x + column];
          a += value * kernels[k];
          b += value * kernels[k + 1];
          c += value * kernels[k + 2];
          d += value * kernels[k + 3];
          k += 4;
        }
      }
    }
    workgroupBarrier();
  }
  if (max(id.x, id.y) >= layer.side) { return; }
  let pixel = id.y * layer.side + id.x;
  store(16 * group.z, pixel, a);
  store(16 * group.z + 4, pixel, b);
  store(16 * group.z + 8, pixel, c);
  store(16 * group.z + 12, pixel, d);
}

// A pixel of up to four maps.
fn store(first: u32, pixel: u32, sums: vec4f) {
  for (var i = 0u; i < 4 && first + i < layer.outputs; i++) {
    let sum = sums[i] + weight(layer.bias + first + i);
    y[(first + i) * layer.side * layer.side + pixel] = activation(sum);
  }
}

// A pixel of the input after it was enlarged; zero outside.
fn enlarged(map: u32, at: vec2i) -> f32 {
  if (map >= layer.inputs || any(at < vec2i(0)) || any(at >= vec2i(i32(layer.side)))) { return 0; }
  let side = layer.side / layer.scale;
  let cell = vec2u(at) / layer.scale;
  return x[(map * side + cell.y) * side + cell.x];
}

// The weights of one tap for four outputs; zero for maps that are not there.
fn kernel(output: u32, map: u32, tap: u32) -> vec4f {
  var values: vec4f;
  if (map >= layer.inputs) { return values; }
  for (var i = 0u; i < 4 && output + i < layer.outputs; i++) {
    values[i] = weight(layer.weight + ((output + i) * layer.inputs + map) * 9 + tap);
  }
  return values;
}

// Each pixel's features at unit mean square, in place.
@compute @workgroup_size(64)
fn pixelNorm(@builtin(global_invocation_id) id: vec3u) {
  let count = layer.side * layer.side;
  if (id.x >= count) { return; }
  var sum = 0.0;
  for (var map = 0u; map < layer.outputs; map++) { sum += y[map * count + id.x] * y[map * count + id.x]; }
  let scale = inverseSqrt(sum / f32(layer.outputs) + 1e-8);
  for (var map = 0u; map < layer.outputs; map++) { y[map * count + id.x] *= scale; }
}

// Move the output of the 4×4 block towards the centre of its class, in place; the centres are float32.
@compute @workgroup_size(64)
fn truncate(@builtin(global_invocation_id) id: vec3u) {
  let count = 16 * layer.outputs;
  if (id.x >= count) { return; }
  let center = bitcast<f32>(weights[layer.weight + u32(request.label) * count + id.x]);
  y[id.x] = mix(center, y[id.x], request.truncation);
}

// The 1×1 convolution to grey or RGB.
fn color(channel: u32, pixel: u32) -> f32 {
  var sum = weight(layer.bias + channel);
  for (var map = 0u; map < layer.inputs; map++) {
    sum += weight(layer.weight + channel * layer.inputs + map) * x[map * layer.side * layer.side + pixel];
  }
  return sum;
}

// The image of half the side, from which the last one is faded in.
@compute @workgroup_size(64)
fn toRGB(@builtin(global_invocation_id) id: vec3u) {
  let count = layer.side * layer.side;
  if (id.x >= count) { return; }
  for (var channel = 0u; channel < CHANNELS; channel++) { y[channel * count + id.x] = color(channel, id.x); }
}

// The last image, faded in and rounded to bytes: RGBA of each pixel.
@compute @workgroup_size(64)
fn toPixels(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= layer.side * layer.side) { return; }
  let half = layer.side / 2;
  let cell = id.x / layer.side / 2 * half + id.x % layer.side / 2;
  var image: array<f32, CHANNELS>;
  for (var channel = 0u; channel < CHANNELS; channel++) {
    var value = mix(previous[channel * half * half + cell], color(channel, id.x), layer.alpha);
    if (TANH) { value = tanh(clamp(value, -15f, 15f)); } // tanh of large numbers may overflow
    image[channel] = value * 0.5 + 0.5;
  }
  pixels[id.x] = pack4x8unorm(vec4f(image[0], image[1 % CHANNELS], image[2 % CHANNELS], 1));
}
