#!/usr/bin/python3
"""OpenGL on Vulkan without a window: pictures drawn with python3-moderngl on Mesa's zink (EGL, surfaceless).

Prints an MD5 sum per picture or buffer: depth, blending, multisampling, textures, floats, integers, compute shaders,
transform feedback and queries.
"""
# apt: python3-moderngl python3-numpy libegl1 libegl-mesa0 libgl1-mesa-dri libgl1 libgles2
import ctypes
import hashlib
import math
import os
import struct
import sys

os.environ.update(
    EGL_PLATFORM="surfaceless", MESA_LOADER_DRIVER_OVERRIDE="zink", GALLIUM_DRIVER="zink", LIBGL_ALWAYS_SOFTWARE="1"
)
import moderngl  # noqa: E402  (reads the environment)

context = moderngl.create_context(standalone=True, backend="egl", libgl="libGL.so.1", libegl="libEGL.so.1", require=430)
assert "zink" in context.info["GL_RENDERER"], context.info["GL_RENDERER"]


def show(name: str, data: bytes) -> None:
    assert len(set(data)) > 3, f"{name} is blank"
    print(name, len(data), hashlib.md5(data).hexdigest())


VERTEX = """#version 430
in vec3 place; in vec3 colour; out vec3 shade; uniform mat4 turn;
void main() { gl_Position = turn * vec4(place, 1.0); shade = colour; }"""
FRAGMENT = """#version 430
in vec3 shade; out vec4 result; uniform float alpha;
void main() { result = vec4(shade, alpha); }"""


def turn(angle: float) -> bytes:
    c, s = math.cos(angle), math.sin(angle)
    return struct.pack("16f", c, s, 0, 0, -s, c, 0.2, 0, 0, 0, 1, 0, 0, 0, 0, 1)


def triangles(samples: int, frames: int) -> None:
    program = context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
    values = [(math.sin(i * 2.1) * 0.8, math.cos(i * 1.7) * 0.8, math.sin(i) * 0.5, i % 3 / 2, i % 5 / 4, i % 7 / 6)
              for i in range(300)]
    points = context.buffer(b"".join(struct.pack("6f", *v) for v in values))
    array = context.vertex_array(program, [(points, "3f 3f", "place", "colour")])
    size = (320, 240)
    target = context.framebuffer(context.renderbuffer(size, 4, samples=samples),
                                 context.depth_renderbuffer(size, samples=samples))
    resolved = context.framebuffer(context.renderbuffer(size, 4))
    for frame in range(frames):
        target.use()
        context.enable(moderngl.DEPTH_TEST if frame % 2 else moderngl.BLEND)
        context.disable(moderngl.BLEND if frame % 2 else moderngl.DEPTH_TEST)
        target.clear(0.1, 0.2, frame / frames, 1.0, depth=1.0)
        program["turn"].write(turn(frame * 0.37))
        program["alpha"].value = 0.6
        array.render(moderngl.TRIANGLES)
        context.copy_framebuffer(resolved, target)
        if frame % 5 == 4:
            show(f"triangles x{samples} {frame}", resolved.read(components=4))


def textures() -> None:
    program = context.program(
        vertex_shader="""#version 430
        out vec2 at; void main() { at = vec2(gl_VertexID & 1, gl_VertexID >> 1); gl_Position = vec4(at * 2.0 - 1.0, 0, 1); }""",
        fragment_shader="""#version 430
        in vec2 at; out vec4 result; uniform sampler2D image; uniform float lod;
        void main() { result = textureLod(image, at * 3.0, lod) + texture(image, at) * 0.25; }""")
    array = context.vertex_array(program, [])
    for kind, width in (("f1", 1), ("f2", 2), ("f4", 4)):
        count = 64 * 64 * 4
        data = {"f1": lambda: bytes((i * 7 + i // 64) & 255 for i in range(count)),
                "f2": lambda: struct.pack(f"{count}e", *((i % 97) / 97 for i in range(count))),
                "f4": lambda: struct.pack(f"{count}f", *((i % 89) / 89 for i in range(count)))}[kind]()
        image = context.texture((64, 64), 4, data, dtype=kind)
        image.build_mipmaps()
        target = context.framebuffer(context.texture((200, 200), 4, dtype=kind))
        target.use()
        image.use(0)
        for lod in (0.0, 1.5, 3.0):
            program["lod"].value = lod
            array.render(moderngl.TRIANGLE_STRIP, vertices=4)
            show(f"texture {kind} {lod}", target.read(components=4, dtype=kind))
        show(f"mipmap {kind}", image.read(level=2))


def compute() -> None:
    shader = context.compute_shader("""#version 430
    layout(local_size_x = 64) in; layout(std430, binding = 0) buffer Values { uint value[]; };
    layout(std430, binding = 1) buffer Sums { uint sum[]; }; shared uint part[64];
    void main() { uint i = gl_GlobalInvocationID.x, l = gl_LocalInvocationID.x; value[i] = value[i] * 2654435761u + i;
      part[l] = value[i] >> 16; barrier(); for (uint s = 32u; s > 0u; s >>= 1) { if (l < s) part[l] += part[l + s]; barrier(); }
      if (l == 0u) atomicAdd(sum[gl_WorkGroupID.x & 15u], part[0]); }""")
    values = context.buffer(b"".join(struct.pack("I", i) for i in range(65536)))
    sums = context.buffer(bytes(64))
    values.bind_to_storage_buffer(0)
    sums.bind_to_storage_buffer(1)
    barrier = ctypes.CDLL("libGL.so.1").glMemoryBarrier
    for _ in range(20):
        shader.run(1024)
        barrier(0xFFFFFFFF)
    show("compute values", values.read())
    show("compute sums", sums.read())


def feedback() -> None:
    program = context.program(vertex_shader="""#version 430
    in float at; out float twice; void main() { twice = at * at - 3.0; gl_Position = vec4(0); }""", varyings=["twice"])
    points = context.buffer(struct.pack("1000f", *(i * 0.5 for i in range(1000))))
    array = context.vertex_array(program, [(points, "f", "at")])
    result = context.buffer(reserve=4000)
    query = context.query(primitives=True)
    with query:
        array.transform(result, moderngl.POINTS)
    show("feedback", result.read())
    print("primitives", query.primitives)


wanted = sys.argv[1:] or ["triangles", "samples", "textures", "compute", "feedback"]
parts = {"triangles": lambda: triangles(0, 20), "samples": lambda: triangles(4, 20),
         "textures": textures, "compute": compute, "feedback": feedback}
for part in wanted:
    parts[part]()
