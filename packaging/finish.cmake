# CPack runs this when each package's files lie in a folder of its own and before they are packed: what Debian prescribes.
cmake_policy(SET CMP0057 NEW)
find_program(help2man help2man REQUIRED)
find_program(gzip gzip REQUIRED)

# The driver is nobody's library but the loader's, which finds it by its manifest: it has a folder of its own.
function(finish_libraries root)
  set(libraries /usr/lib/${CPACK_VESPER_MULTIARCH})
  file(GLOB files ${root}/usr/lib/*.so)
  foreach(file IN LISTS files)
    file(RPATH_REMOVE FILE ${file})
    set(folder ${libraries})
    if(file MATCHES "libvulkan_")
      set(folder ${libraries}/vesper)
    endif()
    file(COPY ${file} DESTINATION ${root}${folder})
    file(REMOVE ${file})
  endforeach()
  file(GLOB manifests ${root}/usr/share/vulkan/icd.d/*.json)
  foreach(manifest IN LISTS manifests)
    file(READ ${manifest} text)
    string(REGEX REPLACE "\"library_path\": \"[^\"]*/" "\"library_path\": \"${libraries}/vesper/" text "${text}")
    file(WRITE ${manifest} "${text}")
  endforeach()
endfunction()

# Man page, and completions of shells, out of the program's own help.
function(finish_program root program)
  get_filename_component(name ${program} NAME)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${root}/usr/lib/${CPACK_VESPER_MULTIARCH}
                          ${CPACK_VESPER_PYTHON} ${CPACK_VESPER_SOURCE}/describe.py ${program} ${root}/usr/share
                  RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "packaging: ${name} could not be described")
  endif()
endfunction()

function(finish_package root package)
  finish_libraries(${root})
  file(GLOB programs ${root}/usr/bin/*)
  foreach(program IN LISTS programs)
    file(RPATH_REMOVE FILE ${program})
    finish_program(${root} ${program})
  endforeach()
  set(documents ${root}/usr/share/doc/${package})
  file(COPY ${CPACK_VESPER_SOURCE}/debian/copyright DESTINATION ${documents})
  if(EXISTS ${CPACK_VESPER_SOURCE}/debian/overrides/${package})
    file(COPY ${CPACK_VESPER_SOURCE}/debian/overrides/${package} DESTINATION ${root}/usr/share/lintian/overrides)
  endif()
  if(EXISTS ${root}/usr/etc)
    file(RENAME ${root}/usr/etc ${root}/etc)
  endif()
  string(TIMESTAMP date "%a, %d %b %Y 00:00:00 +0000" UTC)  # the same in packages of all architectures
  file(WRITE ${documents}/changelog
       "vesper (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n\n  * Made from the sources of this version.\n\n"
       " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
  execute_process(COMMAND ${gzip} -9n ${documents}/changelog COMMAND_ERROR_IS_FATAL ANY)
  # umask may have been stricter than Debian's.
  execute_process(COMMAND chmod -R u=rwX,go=rX ${root} COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB_RECURSE plain ${root}/usr/lib/*.so ${root}/usr/share/* ${root}/usr/include/*)
  foreach(file IN LISTS plain)
    file(CHMOD ${file} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  endforeach()
endfunction()

foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  finish_package(${CPACK_TEMPORARY_DIRECTORY}/${component} ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
endforeach()
