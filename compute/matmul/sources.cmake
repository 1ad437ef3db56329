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
set(cooperative matmul/shaders/cooperative.comp)
vesper_add_shader(vesper-compute cooperative_128x64 ${cooperative} TILE_M=128 TILE_N=64 SUBGROUPS_M=2 SUBGROUPS_N=2 STAGES=2 DEPTH=32)
vesper_add_shader(vesper-compute cooperative_128x128 ${cooperative} TILE_M=128 TILE_N=128 SUBGROUPS_M=2 SUBGROUPS_N=4 STAGES=2 DEPTH=32)
vesper_add_shader(vesper-compute cooperative_128x128_deep ${cooperative} TILE_M=128 TILE_N=128 SUBGROUPS_M=2 SUBGROUPS_N=4 STAGES=1 DEPTH=64)
