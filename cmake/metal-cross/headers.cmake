# Included by project() in the preset metal-cross: every source begins with what was made of headers.h.
add_compile_options(-include-pch ${CMAKE_SOURCE_DIR}/build/metal-cross-prefix/headers.pch)
