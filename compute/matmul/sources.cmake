# Matrix multiplication: into the library, included by compute/CMakeLists.txt.
target_sources(vesper-compute PRIVATE
  matmul/choices.cpp matmul/cpu_matmul.cpp matmul/matmul.cpp matmul/matmul_kernels.cpp matmul/variants.cpp matmul/weights.cpp)
foreach(operands F32 F16 Q8 Q4)
  string(TOLOWER ${operands} type)
  string(REGEX REPLACE "^(q.)$" "\\1_0" type ${type})
  vesper_add_shader(vesper-compute tiled_${type} matmul/shaders/tiled.comp OPERANDS_${operands})
  foreach(tile 64 128)
    vesper_add_shader(vesper-compute registers_${tile}_${type} matmul/shaders/register_tiled.comp
      OPERANDS_${operands} TILE=${tile})
  endforeach()
endforeach()
foreach(tile 128x128 128x256 256x128)
  string(REPLACE "x" ";" sides ${tile})
  list(GET sides 0 rows)
  list(GET sides 1 columns)
  vesper_add_shader(vesper-compute cooperative_${tile} matmul/shaders/cooperative.comp TILE_M=${rows} TILE_N=${columns})
endforeach()
