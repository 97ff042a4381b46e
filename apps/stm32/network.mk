# For a Makefile of STM32CubeMX: the network's sources and headers, beside the project's own.
C_SOURCES += $(wildcard network/*.c network/codegen/host/src/*.c)
C_INCLUDES += -Inetwork -Inetwork/codegen/host/include -Inetwork/runtime/include
LIBS += -lm
