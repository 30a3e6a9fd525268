# mk_embed_lua(DIR OUT [FILE...]): turns every .lua file below DIR (except DIR/_meta, which is for editors)
# into one C file with an index of { module name, source text, length }. The text stays Lua source,
# so that tracebacks show real lines and no bytecode ties the binary to one Lua build.
function(mk_embed_lua dir out)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${dir}/*.lua)
  list(FILTER files EXCLUDE REGEX "/_meta/")
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DDIR=${dir} -DOUT=${out} "-DMORE=${ARGN}" -P ${CMAKE_SOURCE_DIR}/cmake/embed_lua.cmake
    DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_lua.cmake
    COMMENT "Embedding the Lua library"
    VERBATIM)
endfunction()
