/* The C interface of vesper-compute: a GPU from any language that can call C.
 *
 * Values.   A function that returns int returns 0 for success and a negative number for failure: -1 minus
 *           the value of vesper::compute::ErrorCode, named in enum rt_vk_error. A function that returns a
 *           handle returns 0 for failure. rt_vk_last_error() then says in a sentence what was attempted.
 * Handles.  A handle names an object of a registry and is never used twice: one that was freed, that
 *           belongs to another kind of object, or that never was is refused. Freeing one that is not valid
 *           does nothing (rt_vk_last_error() says so). Objects that depend on one another may be freed
 *           in any order.
 * Threads.  Every function may be called from any thread, on the same objects too.
 * Order.    Launches return at once. Work on a buffer happens in the order of the calls; a download
 *           returns what everything before it wrote. Waiting lasts at most 5 seconds (-14 then).
 * Public:   see docs/compute.md.
 */
#ifndef RT_VK_H_
#define RT_VK_H_

#include <stdint.h>

#if defined(__GNUC__)
#define RT_VK_API __attribute__((visibility("default")))
#else
#define RT_VK_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum rt_vk_error {
  RT_VK_SUCCESS = 0,
  RT_VK_NOT_AVAILABLE = -1,
  RT_VK_NO_DEVICE_FOUND = -2,
  RT_VK_NO_COMPUTE_QUEUE = -3,
  RT_VK_INITIALIZATION_FAILED = -4,
  RT_VK_DEVICE_CREATION_FAILED = -5,
  RT_VK_ALLOCATION_FAILED = -6,
  RT_VK_BUFFER_ERROR = -7,
  RT_VK_BUFFER_TOO_SMALL = -8,
  RT_VK_NOT_MAPPED = -9,
  RT_VK_PIPELINE_CREATION_FAILED = -10,
  RT_VK_SPIRV_COMPILATION_FAILED = -11,
  RT_VK_EXECUTION_FAILED = -12,
  RT_VK_COMMAND_BUFFER_ERROR = -13,
  RT_VK_SYNC_ERROR = -14,
  RT_VK_INVALID_HANDLE = -100,   /* 0, freed, of another kind, or never given out */
  RT_VK_INVALID_ARGUMENT = -101, /* NULL where data is needed */
  RT_VK_INTERNAL_ERROR = -102    /* out of host memory and the like */
};

/* 1 when there is a device to compute with, else 0. */
RT_VK_API int rt_vk_is_available(void);

/* The best device, or the one that the environment variable VESPER_COMPUTE_DEVICE names (index or part of
 * the name). */
RT_VK_API uint64_t rt_vk_device_create(void);
/* Waits until everything submitted to the device is done. */
RT_VK_API int rt_vk_device_sync(uint64_t device);
RT_VK_API void rt_vk_device_free(uint64_t device);

/* A storage buffer. Its contents are undefined until something is uploaded or computed. */
RT_VK_API uint64_t rt_vk_buffer_alloc(uint64_t device, uint64_t bytes);
/* The first `bytes` bytes of the buffer. The host's memory may be reused when these return. */
RT_VK_API int rt_vk_buffer_upload(uint64_t buffer, const void* data, uint64_t bytes);
RT_VK_API int rt_vk_buffer_download(uint64_t buffer, void* data, uint64_t bytes);
RT_VK_API void rt_vk_buffer_free(uint64_t buffer);

/* A compute shader with entry point "main", whose buffers are bindings of set 0. `bytes` counts bytes. */
RT_VK_API uint64_t rt_vk_kernel_compile(uint64_t device, const uint32_t* spirv, uint64_t bytes);
/* Starts the kernel with `count` buffers in the order of their binding numbers. x, y and z are the global size, in
 * threads: the shader's local size divides it, rounding up, so that a shader must check its bounds. `push` are the
 * push constants, push_bytes as many as the shader declares (0 and NULL without). */
RT_VK_API int rt_vk_kernel_launch(uint64_t kernel, const uint64_t* buffers, uint32_t count, uint32_t x, uint32_t y,
                                  uint32_t z, const void* push, uint32_t push_bytes);
/* The same with y = z = 1. */
RT_VK_API int rt_vk_kernel_launch_1d(uint64_t kernel, const uint64_t* buffers, uint32_t count, uint32_t x,
                                     const void* push, uint32_t push_bytes);
RT_VK_API void rt_vk_kernel_free(uint64_t kernel);

/* What this thread's latest failure was; "" when none was. Valid until this thread's next rt_vk call. Never NULL. */
RT_VK_API const char* rt_vk_last_error(void);

#ifdef __cplusplus
}
#endif

#endif /* RT_VK_H_ */
