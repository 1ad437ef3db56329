#!/usr/bin/env node
// TensorFlow.js on its WebGPU backend on Dawn in node: a network of convolutions trained for a few steps, then operations
// one by one; prints the losses and an FNV hash of every result.
// apt: nodejs chromium libvulkan1
// npm: webgpu@0.6.2 @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-layers@4.22.0 @tensorflow/tfjs-backend-webgpu@4.22.0
// driver: swiftshader
import {createRequire} from 'node:module';
const require = createRequire(`${process.env.NODE_MODULES}/none.js`);
const {create, globals} = await import(`${process.env.NODE_MODULES}/webgpu/index.js`);
Object.assign(globalThis, globals);
Object.defineProperty(globalThis, 'navigator', {value: {gpu: create(['backend=vulkan'])}, configurable: true});
const tf = require('@tensorflow/tfjs-core');
const {WebGPUBackend} = require('@tensorflow/tfjs-backend-webgpu');
const layers = require('@tensorflow/tfjs-layers');

const adapter = await navigator.gpu.requestAdapter();
const device = await adapter.requestDevice({requiredLimits: {
  maxStorageBuffersPerShaderStage: adapter.limits.maxStorageBuffersPerShaderStage,
  maxComputeWorkgroupSizeX: adapter.limits.maxComputeWorkgroupSizeX,
  maxComputeInvocationsPerWorkgroup: adapter.limits.maxComputeInvocationsPerWorkgroup,
  maxComputeWorkgroupStorageSize: adapter.limits.maxComputeWorkgroupStorageSize,
}});
device.onuncapturederror = ({error}) => { console.error(error.message); process.exit(1); };
tf.registerBackend('dawn', () => new WebGPUBackend(device, adapter.info), 2);
tf.copyRegisteredKernels('webgpu', 'dawn');
if (!await tf.setBackend('dawn')) throw new Error('no backend');
tf.env().set('WEBGPU_CPU_FORWARD', false);  // small tensors too are computed on the device

const show = async (name, tensor) => {
  const values = await tensor.data();
  let hash = 2166136261;
  for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength)) {
    hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  }
  if (new Set(values).size < 2 || values.some(Number.isNaN)) throw new Error(`${name}: ${values.slice(0, 8)}`);
  console.log(name, tensor.shape.join('x'), hash.toString(16));
};
const wave = (shape, step) => tf.tensor(Float32Array.from({length: shape.reduce((a, b) => a * b)},
  (_, i) => Math.fround(Math.sin(i * step))), shape);

const image = wave([4, 24, 24, 3], 0.37), matrix = wave([96, 64], 0.11);
const filter = wave([3, 3, 3, 8], 0.7), deep = wave([3, 3, 3, 2], 0.3);
const operations = {
  matMul: () => tf.matMul(matrix, matrix, false, true),
  conv2d: () => tf.conv2d(image, filter, 2, 'same'),
  depthwise: () => tf.depthwiseConv2d(image, deep, 1, 'valid'),
  transposed: () => tf.conv2dTranspose(wave([1, 8, 8, 8], 0.2), filter, [1, 16, 16, 3], 2, 'same'),
  maxPool: () => tf.maxPool(image, 3, 2, 'valid'),
  resize: () => tf.image.resizeBilinear(image, [50, 31]),
  nearest: () => tf.image.resizeNearestNeighbor(image, [50, 31]),
  softmax: () => tf.softmax(matrix),
  logSumExp: () => tf.logSumExp(matrix, 1),
  cumsum: () => tf.cumsum(matrix, 1),
  topk: () => tf.topk(matrix, 5).indices,
  gather: () => tf.gather(matrix, tf.tensor1d([5, 1, 90, 1], 'int32')),
  transpose: () => tf.transpose(image, [3, 0, 2, 1]),
  reverse: () => tf.reverse(image, [1, 2]),
  concat: () => tf.concat([image, tf.relu(image)], 3),
  where: () => tf.where(tf.greater(matrix, 0), tf.exp(matrix), tf.square(matrix)),
  fft: () => tf.real(tf.spectral.fft(tf.complex(matrix, matrix))),
  argMax: () => tf.argMax(matrix, 0),
  einsum: () => tf.einsum('ij,kj->ik', matrix, matrix),
};
for (const [name, operation] of Object.entries(operations)) await show(name, tf.tidy(operation));

const model = layers.sequential({layers: [
  layers.layers.conv2d({inputShape: [24, 24, 3], filters: 8, kernelSize: 3, activation: 'relu',
                        kernelInitializer: layers.initializers.glorotUniform({seed: 1})}),
  layers.layers.maxPooling2d({poolSize: 2}),
  layers.layers.flatten(),
  layers.layers.dense({units: 10, activation: 'softmax', kernelInitializer: layers.initializers.glorotUniform({seed: 2})}),
]});
model.compile({optimizer: tf.train.adam(0.01), loss: 'categoricalCrossentropy'});
const labels = tf.cast(tf.oneHot(tf.tensor1d([1, 4, 7, 2], 'int32'), 10), 'float32');
const losses = [];
for (let step = 0; step < 5; step++) losses.push(await model.trainOnBatch(image, labels));
if (!(losses.at(-1) < losses[0] / 1.2)) throw new Error(`does not learn: ${losses}`);
console.log('losses', losses.join(' '));
for (const weight of model.getWeights()) await show('weight', weight);
process.exit(0);
