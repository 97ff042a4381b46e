/* The same on an STM32: its camera interface (DCMI) and DMA put two rows in turn into `rows`, without end. One is pushed
 * while the other comes; `late` counts those that came before the one before was done. */
#include <stm32_camera.h> /* your board's HAL header, and from CubeMX: hdma_dcmi, circular, and hdcmi, 8 bits a channel */
#include <tvmgen_default_arena.h>
#include <tvmgen_default_stream.h>

static uint8_t arena[TVMGEN_DEFAULT_ARENA_BYTES] __attribute__((aligned(TVMGEN_DEFAULT_ARENA_ALIGNMENT)));
static uint8_t rows[2][TVMGEN_DEFAULT_STREAM_ROW_BYTES] __attribute__((aligned(4)));
static uint8_t* volatile ready;
static volatile uint32_t late;

static void row_is_in(uint8_t* row) {
  late += ready != 0;
  ready = row;
}
static void half(DMA_HandleTypeDef* dma) { (void)dma, row_is_in(rows[0]); }
static void full(DMA_HandleTypeDef* dma) { (void)dma, row_is_in(rows[1]); }

/* 0 once the outputs are there; else an error: TOO_EARLY if the network is too slow for the camera. */
int32_t classify_picture(struct tvmgen_default_outputs* outputs) {
  struct tvmgen_default_stream stream;
  struct tvmgen_default_inputs inputs = {0};
  struct tvmgen_default_workspace_pools pools = {arena};
  int32_t wanted = TVMGEN_DEFAULT_STREAM_ROWS;
  tvmgen_default_begin(&stream, &inputs, outputs, &pools);
  ready = 0, late = 0;
  hdma_dcmi.XferHalfCpltCallback = half, hdma_dcmi.XferCpltCallback = full;
  HAL_DMA_Start_IT(&hdma_dcmi, (uint32_t)&DCMI->DR, (uint32_t)rows, sizeof rows / 4);
  __HAL_DCMI_ENABLE(&hdcmi), DCMI->CR |= DCMI_CR_CAPTURE;
  while (wanted > 0 && !late) {
    if (!ready) continue;
    for (int k = 0; k < TVMGEN_DEFAULT_STREAM_ROW_BYTES; k++) ready[k] ^= 0x80; /* 0 to 255 as int8 */
    wanted = tvmgen_default_push(&stream, ready, 1);
    ready = 0;
  }
  HAL_DMA_Abort(&hdma_dcmi);
  return wanted < 0 ? wanted : tvmgen_default_end(&stream);
}
