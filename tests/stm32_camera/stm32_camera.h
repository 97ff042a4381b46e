/* As much of STM32's HAL as apps/camera/stm32_dcmi.c uses. */
#ifndef STM32_CAMERA_H_
#define STM32_CAMERA_H_

#include <stdint.h>

typedef struct DMA {
  void (*XferCpltCallback)(struct DMA*);
  void (*XferHalfCpltCallback)(struct DMA*);
} DMA_HandleTypeDef;
typedef struct {
  int unused;
} DCMI_HandleTypeDef;
typedef struct {
  volatile uint32_t CR, DR;
} DCMI_TypeDef;

extern DMA_HandleTypeDef hdma_dcmi;
extern DCMI_HandleTypeDef hdcmi;
#define DCMI ((DCMI_TypeDef*)0x50050000)
#define DCMI_CR_CAPTURE 1u
#define __HAL_DCMI_ENABLE(handle) ((void)(handle))
int HAL_DMA_Start_IT(DMA_HandleTypeDef* dma, uint32_t from, uint32_t to, uint32_t words);
int HAL_DMA_Abort(DMA_HandleTypeDef* dma);

#endif
