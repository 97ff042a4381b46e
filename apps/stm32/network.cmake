# For a CMakeLists.txt of STM32CubeMX: the network's sources and headers, beside the project's own.
file(GLOB NETWORK_SOURCES network/*.c network/codegen/host/src/*.c)
target_sources(${CMAKE_PROJECT_NAME} PRIVATE ${NETWORK_SOURCES})
target_include_directories(${CMAKE_PROJECT_NAME} PRIVATE network network/codegen/host/include network/runtime/include)
target_link_libraries(${CMAKE_PROJECT_NAME} m)
