# cmake --install, and cpack -G DEB or TGZ: what goes where. All paths are relative, so that an installed
# tree may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(IVITI_MODELS_DIR ${CMAKE_INSTALL_DATADIR}/iviti/models)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/iviti)

# ---- library, headers, and how others find them -----------------------------------------------------
foreach(target ${libraries})
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
install(TARGETS ${libraries} EXPORT iviti-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT iviti-targets NAMESPACE iviti:: DESTINATION ${package})
install(DIRECTORY include/iviti DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

configure_package_config_file(tools/package/iviti-config.cmake.in ${PROJECT_BINARY_DIR}/package/iviti-config.cmake
  INSTALL_DESTINATION ${package} PATH_VARS IVITI_MODELS_DIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/iviti-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/iviti-config.cmake
  ${PROJECT_BINARY_DIR}/package/iviti-config-version.cmake DESTINATION ${package})

file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" up ${up})
set(IVITI_PC_PREFIX "\${pcfiledir}/${up}")
configure_file(tools/package/iviti.pc.in ${PROJECT_BINARY_DIR}/package/iviti.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/iviti.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# ---- models and pages ---------------------------------------------------------------------------------
file(GLOB models models/*.gguf)
install(FILES ${models} models/README.md DESTINATION ${IVITI_MODELS_DIR})
install(FILES README.md models/FORMAT.md src/NUMERICS.md tools/SCALE.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
file(GLOB examples tools/examples/*.c)
list(FILTER examples EXCLUDE REGEX "draw_digits") # needs the tools' own code
install(FILES ${examples} DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# ---- tools ----------------------------------------------------------------------------------------------
if(IVITI_BUILD_TOOLS)
  install(TARGETS ${IVITI_PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(IVITI_BUILD_TOOLS AND NOT CMAKE_CROSSCOMPILING)
  # Debian's zsh looks for what packages bring in another folder than for what users install.
  install(CODE [[set(zsh_functions site-functions)
    if(CMAKE_INSTALL_PREFIX MATCHES "/usr/?$" AND EXISTS /etc/debian_version)
      set(zsh_functions vendor-completions)
    endif()]])
  set(pages ${PROJECT_BINARY_DIR}/pages)
  foreach(name ${IVITI_PROGRAMS})
    install(FILES ${pages}/man/${name} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 RENAME ${name}.1)
    install(FILES ${pages}/bash/${name} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${pages}/zsh/${name} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/\${zsh_functions}
      RENAME _${name})
    install(FILES ${pages}/fish/${name} DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
      RENAME ${name}.fish)
  endforeach()
endif()

# Debian reads the licence under this name.
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

# ---- packages ---------------------------------------------------------------------------------------------
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME iviti)
set(CPACK_PACKAGE_VENDOR "The libiviti authors")
set(CPACK_PACKAGE_CONTACT "The libiviti authors")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Vision Transformers in integer arithmetic alone")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A small C library that runs ViT, DeiT and Swin models without a single
floating-point instruction, with the same bits on every processor, and the
tools that make such models from float checkpoints, classify pictures with
them and measure them.")
include(CPack)
