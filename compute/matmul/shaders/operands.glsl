// The operands of C = A B for one element type, chosen when the shader is compiled:
//   OPERANDS_F32  A is M×K and B K×N, float32, row by row
//   OPERANDS_F16  the same, float16, two elements a word
//   OPERANDS_Q8   A float32; each column of B in blocks of 32: words of four int8, block by block, column by column, and apart
//   OPERANDS_Q4   from them one float16 scale a block. Q4: words of eight nibbles, value = nibble - 8, element i of the first
//                 sixteen in the low and element i + 16 in the high nibble of byte i
// C is float32, row by row. LoadA and LoadB give 0 beyond the matrices.
layout(push_constant) uniform Sizes {
  uint m;
  uint n;
  uint k;
} size;

#if defined(OPERANDS_F16)
layout(set = 0, binding = 0) readonly buffer MatrixA { uint a[]; };
float LoadA(uint row, uint column) {
  if (row >= size.m || column >= size.k) return 0.0;
  const uint at = row * size.k + column;
  return unpackHalf2x16(a[at >> 1])[at & 1u];
}
#else
layout(set = 0, binding = 0) readonly buffer MatrixA { float a[]; };
float LoadA(uint row, uint column) {
  return row < size.m && column < size.k ? a[row * size.k + column] : 0.0;
}
#endif

#if defined(OPERANDS_F32)
layout(set = 0, binding = 1) readonly buffer MatrixB { float b[]; };
float LoadB(uint row, uint column) {
  return row < size.k && column < size.n ? b[row * size.n + column] : 0.0;
}
#elif defined(OPERANDS_F16)
layout(set = 0, binding = 1) readonly buffer MatrixB { uint b[]; };
float LoadB(uint row, uint column) {
  if (row >= size.k || column >= size.n) return 0.0;
  const uint at = row * size.n + column;
  return unpackHalf2x16(b[at >> 1])[at & 1u];
}
#else
layout(set = 0, binding = 1) readonly buffer MatrixB { uint b[]; };
layout(set = 0, binding = 3) readonly buffer ScalesB { uint scales[]; };
float LoadB(uint row, uint column) {
  if (row >= size.k || column >= size.n) return 0.0;
  const uint block = column * ((size.k + 31u) / 32u) + row / 32u;
  const uint within = row % 32u;
#if defined(OPERANDS_Q8)
  const int quant = bitfieldExtract(int(b[block * 8u + within / 4u]), int(within % 4u) * 8, 8);
#else
  const uint byte = within % 16u;
  const int quant = int(bitfieldExtract(b[block * 4u + byte / 4u], int(byte % 4u) * 8 + int(within / 16u) * 4, 4)) - 8;
#endif
  return float(quant) * unpackHalf2x16(scales[block >> 1])[block & 1u];
}
#define COLUMNS_OF_B_ARE_CONTIGUOUS 1
#endif

layout(set = 0, binding = 2) writeonly buffer MatrixC { float c[]; };
