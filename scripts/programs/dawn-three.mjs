#!/usr/bin/env node
// three.js, its WebGPU renderer, on Dawn in node, without a page: a lit scene with shadows, instances, textures and
// materials of nodes drawn off-screen; prints an MD5 sum per picture.
// apt: nodejs chromium libvulkan1
// npm: webgpu@0.6.2 three@0.180.0
// driver: swiftshader
import {createHash} from 'node:crypto';
const {create, globals} = await import(`${process.env.NODE_MODULES}/webgpu/index.js`);
Object.assign(globalThis, globals, {
  self: globalThis, VideoFrame: class {}, HTMLVideoElement: class {}, HTMLImageElement: class {}, ImageBitmap: class {},
  requestAnimationFrame: (f) => setTimeout(f, 16, 0), cancelAnimationFrame: clearTimeout,
});
Object.defineProperty(globalThis, 'navigator', {value: {gpu: create(['backend=vulkan'])}, configurable: true});
const three = await import(`${process.env.NODE_MODULES}/three/build/three.webgpu.js`);
const tsl = await import(`${process.env.NODE_MODULES}/three/build/three.tsl.js`);

const size = 192;
const canvas = {width: size, height: size, style: {}, addEventListener() {}, removeEventListener() {},
                getContext: () => ({configure() {}, unconfigure() {}, getCurrentTexture() { throw new Error('no window'); }})};
const adapter = await navigator.gpu.requestAdapter();
const device = await adapter.requestDevice();
device.onuncapturederror = ({error}) => { console.error(error.message); process.exit(1); };
const renderer = new three.WebGPURenderer({canvas, device});
await renderer.init();
if (!renderer.backend.isWebGPUBackend) throw new Error('not on WebGPU');
renderer.shadowMap.enabled = true;

const scene = new three.Scene();
scene.background = new three.Color(0x203040);
const camera = new three.PerspectiveCamera(50, 1, 0.1, 50);
camera.position.set(3, 2.5, 5);
camera.lookAt(0, 0, 0);
const sun = new three.DirectionalLight(0xffffff, 2);
sun.position.set(3, 5, 2);
sun.castShadow = true;
scene.add(sun, new three.HemisphereLight(0x8899ff, 0x443322, 0.8));

const checks = new three.DataTexture(Uint8Array.from({length: 64 * 64 * 4}, (_, i) => (((i >> 5) ^ (i >> 11)) & 1) * 200 + 55), 64, 64);
checks.generateMipmaps = true;
checks.minFilter = three.LinearMipmapLinearFilter;
checks.wrapS = checks.wrapT = three.RepeatWrapping;
checks.repeat.set(4, 4);
checks.needsUpdate = true;
const floor = new three.Mesh(new three.PlaneGeometry(12, 12), new three.MeshStandardMaterial({map: checks, roughness: 0.8}));
floor.rotation.x = -Math.PI / 2;
floor.position.y = -1;
floor.receiveShadow = true;
const knot = new three.Mesh(new three.TorusKnotGeometry(0.7, 0.22, 96, 12), new three.MeshPhysicalMaterial({color: 0xff7733, metalness: 0.4, roughness: 0.3, clearcoat: 0.6}));
knot.castShadow = true;
const boxes = new three.InstancedMesh(new three.BoxGeometry(0.3, 0.3, 0.3), new three.MeshPhongMaterial({shininess: 60}), 60);
for (let i = 0; i < 60; i++) {
  boxes.setMatrixAt(i, new three.Matrix4().makeRotationY(i * 0.4).setPosition(Math.sin(i) * 2.2, Math.cos(i * 1.3) * 0.7, Math.cos(i) * 2.2));
  boxes.setColorAt(i, new three.Color().setHSL(i / 60, 0.8, 0.5));
}
boxes.castShadow = true;
const time = tsl.uniform(0);
const glow = new three.MeshBasicNodeMaterial({transparent: true});
glow.colorNode = tsl.mix(tsl.color(0x00ffaa), tsl.color(0xaa00ff), tsl.sin(tsl.positionLocal.y.mul(8).add(time)).mul(0.5).add(0.5));
glow.opacityNode = tsl.float(0.5);
const ball = new three.Mesh(new three.SphereGeometry(0.5, 32, 16), glow);
ball.position.set(1.3, 0.8, 1);
scene.add(floor, knot, boxes, ball);

for (const samples of [0, 4]) {
  const target = new three.RenderTarget(size, size, {samples});
  for (let frame = 0; frame < 6; frame++) {
    knot.rotation.set(frame * 0.3, frame * 0.5, 0);
    time.value = frame * 0.7;
    if (frame === 4) scene.fog = new three.Fog(0x203040, 3, 9);
    renderer.setRenderTarget(target);
    await renderer.renderAsync(scene, camera);
    const pixels = await renderer.readRenderTargetPixelsAsync(target, 0, 0, size, size);
    if (new Set(pixels).size < 60) throw new Error('blank');
    console.log(`x${samples} ${frame}`, pixels.length, createHash('md5').update(pixels).digest('hex'));
  }
  scene.fog = null;
}
process.exit(0);
