# pystack_require(DEB RPM VARIABLE...): fails with the packages to install if one of the variables was not found, because
# CMake's own message names only the variable.
function(pystack_require deb rpm)
  foreach(variable ${ARGN})
    if(NOT ${variable})
      message(FATAL_ERROR "${variable} was not found. Install ${deb} (Debian, Ubuntu: apt-get install ${deb}; "
                          "Fedora: dnf install ${rpm}), or set -D${variable}=PATH.")
    endif()
  endforeach()
endfunction()
