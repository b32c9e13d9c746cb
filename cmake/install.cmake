# `cmake --install`: the program, headers, the Python package, and what shells and man need, made from the program's own
# table of options.
include(GNUInstallDirs)
install(TARGETS assay RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# The headers that need no library: how each weight format is decoded, and the functions of the contract, for engines
# that want the same bits. formats.h is the list that formats.cpp belongs to, and fields.h needs it.
install(DIRECTORY src/quant src/lang DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/assay
  FILES_MATCHING PATTERN "*.h" PATTERN "formats.h" EXCLUDE PATTERN "fields.h" EXCLUDE)
install(DIRECTORY python/assay DESTINATION ${CMAKE_INSTALL_DATADIR}/assay/python FILES_MATCHING PATTERN "*.py")
install(FILES LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
  message(STATUS "Cross-compiling: no completions and no man page are installed, since only the target can run assay; "
    "there, 'assay completions SHELL' and 'assay man-page' print them")
  return()
endif()
set(pages ${CMAKE_CURRENT_BINARY_DIR}/pages)
install(CODE "
  file(MAKE_DIRECTORY \"${pages}\")
  foreach(page \"completions bash\" \"completions zsh\" \"completions fish\" \"man-page\")
    string(REPLACE \" \" \";\" arguments \"\${page}\")
    string(REPLACE \" \" \"-\" name \"\${page}\")
    execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} \"$<TARGET_FILE:assay>\" \${arguments}
      OUTPUT_FILE \"${pages}/\${name}\" RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR \"assay \${page}: \${failed}\")
    endif()
  endforeach()")
install(FILES ${pages}/completions-bash RENAME assay DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${pages}/completions-zsh RENAME _assay DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${pages}/completions-fish RENAME assay.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${pages}/man-page RENAME assay.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
