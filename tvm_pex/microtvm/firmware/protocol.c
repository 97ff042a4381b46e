#include "protocol.h"

#include <stdbool.h>
#include <string.h>

#include "model.h"
#include "platform.h"

/* Not in the header: vendors' headers use some of these names too. */
enum sign { END = 0xC0, ESCAPE = 0xDB, ESCAPED_END = 0xDC, ESCAPED_ESCAPE = 0xDD };
enum kind { RESET = 1, INFO = 2, WRITE = 3, RUN = 4, READ = 5, REPLY = 0x80 };
enum status {
  DONE = 0,
  UNKNOWN = 1,         /* no such kind, or a payload of the wrong length */
  OUT_OF_SEQUENCE = 2, /* the device was restarted, or is in another session */
  OUT_OF_PLACE = 3,    /* a part that is not the next one, or not inside its port */
  NOT_READY = 4,       /* RUN before all inputs, or READ before RUN */
  INPUT_DIFFERS = 5,   /* the inputs in memory are not what the host sent */
  MODEL_FAILED = 6,    /* the model's own result is not 0 */
  STACK_OVERFLOW = 7,
};

enum { PROTOCOL_VERSION = 1, PART_BYTES = 240 };
enum { HEADER_BYTES = 4, CRC_BYTES = 4, PLACE_BYTES = 5, FRAME_BYTES = 256, ANSWER_BYTES = 17 };

static struct {
  uint8_t frame[FRAME_BYTES];
  uint16_t length;
  bool escaped;
  bool broken; /* too long, or a wrong escape */
} line;

static struct {
  bool open;
  uint16_t sequence; /* of the latest request, */
  uint8_t kind;      /* and its kind */
  uint8_t port;      /* the input that the next part belongs to, */
  uint32_t filled;   /* and how many of its bytes are there */
  bool ran;
  uint8_t answer[ANSWER_BYTES]; /* to the latest request, if that was not READ */
  uint8_t answer_length;
} session;

static uint32_t crc_step(uint32_t crc, uint8_t byte) {
  static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                     0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                     0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
  crc ^= byte;
  crc = crc >> 4 ^ table[crc & 15];
  return crc >> 4 ^ table[crc & 15];
}

static uint32_t crc_of(const uint8_t* bytes, uint32_t count) {
  uint32_t crc = UINT32_MAX;
  while (count--) crc = crc_step(crc, *bytes++);
  return ~crc;
}

static uint32_t crc_of_ports(const struct model_port* ports, uint8_t count) {
  uint32_t crc = UINT32_MAX;
  for (uint8_t p = 0; p < count; p++)
    for (uint32_t k = 0; k < ports[p].size; k++) crc = crc_step(crc, ports[p].bytes[k]);
  return ~crc;
}

static uint32_t load(const uint8_t* bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store(uint8_t* bytes, uint32_t number) {
  for (int k = 0; k < 4; k++) bytes[k] = (uint8_t)(number >> 8 * k);
}

static uint32_t send(uint32_t crc, const uint8_t* bytes, uint32_t count) {
  for (uint32_t k = 0; k < count; k++) {
    uint8_t byte = bytes[k];
    crc = crc_step(crc, byte);
    if (byte == END || byte == ESCAPE) {
      platform_putchar(ESCAPE);
      byte = byte == END ? ESCAPED_END : ESCAPED_ESCAPE;
    }
    platform_putchar(byte);
  }
  return crc;
}

/* The payload in two pieces: a tensor's bytes go out straight from their place. */
static void answer(const uint8_t* first, uint8_t first_count, const uint8_t* rest, uint8_t rest_count) {
  const uint8_t* request = line.frame;
  uint8_t header[HEADER_BYTES] = {request[0] | REPLY, request[1], request[2], (uint8_t)(first_count + rest_count)};
  platform_putchar(END);
  uint32_t crc = send(UINT32_MAX, header, sizeof header);
  crc = send(crc, first, first_count);
  crc = send(crc, rest, rest_count);
  uint8_t check[CRC_BYTES];
  store(check, ~crc);
  send(0, check, sizeof check);
  platform_putchar(END);
}

static void refuse(enum status status) {
  uint8_t byte = (uint8_t)status;
  answer(&byte, 1, NULL, 0);
}

static bool inside(uint32_t offset, uint32_t count, uint32_t size) { return count <= size && offset <= size - count; }

static void reset(void) {
  session.port = 0;
  session.filled = 0;
  session.ran = false;
}

static enum status info(void) {
  uint8_t* to = session.answer + 1;
  to[0] = PROTOCOL_VERSION;
  to[1] = model_input_count;
  to[2] = model_output_count;
  to[3] = 0;
  store(to + 4, model_id);
  store(to + 8, model_memory_bytes);
  store(to + 12, platform_stack_bytes());
  session.answer_length = 17;
  return DONE;
}

static enum status write_part(const uint8_t* payload, uint8_t length) {
  if (length <= PLACE_BYTES) return UNKNOWN;
  uint8_t port = payload[0], count = length - PLACE_BYTES;
  uint32_t offset = load(payload + 1);
  if (port != session.port || port >= model_input_count || offset != session.filled) return OUT_OF_PLACE;
  if (!inside(offset, count, model_inputs[port].size)) return OUT_OF_PLACE;
  session.ran = false; /* an input may lie where an output was */
  memcpy(model_inputs[port].bytes + offset, payload + PLACE_BYTES, count);
  session.filled += count;
  if (session.filled == model_inputs[port].size) {
    session.port++;
    session.filled = 0;
  }
  return DONE;
}

static enum status run(const uint8_t* payload, uint8_t length) {
  if (length != CRC_BYTES) return UNKNOWN;
  if (session.port != model_input_count) return NOT_READY;
  reset(); /* the run reuses the inputs' bytes: the next one needs new inputs */
  if (crc_of_ports(model_inputs, model_input_count) != load(payload)) return INPUT_DIFFERS;
  int32_t result = model_run();
  uint32_t used = platform_stack_used();
  store(session.answer + 1, (uint32_t)result);
  store(session.answer + 5, crc_of_ports(model_outputs, model_output_count));
  store(session.answer + 9, used);
  session.answer_length = 13;
  if (used >= platform_stack_bytes()) return STACK_OVERFLOW;
  if (result) return MODEL_FAILED;
  session.ran = true;
  return DONE;
}

static void read_part(const uint8_t* payload, uint8_t length) {
  if (length != PLACE_BYTES + 1 || payload[PLACE_BYTES] > PART_BYTES) {
    refuse(UNKNOWN);
    return;
  }
  uint8_t port = payload[0], count = payload[PLACE_BYTES];
  uint32_t offset = load(payload + 1);
  if (!session.ran) {
    refuse(NOT_READY);
  } else if (port >= model_output_count || !inside(offset, count, model_outputs[port].size)) {
    refuse(OUT_OF_PLACE);
  } else {
    uint8_t status = DONE;
    answer(&status, 1, model_outputs[port].bytes + offset, count);
  }
}

static void carry_out(uint8_t kind, const uint8_t* payload, uint8_t length) {
  session.answer_length = 1;
  enum status status = UNKNOWN;
  if (kind == RESET && length == 0) {
    reset();
    status = DONE;
  } else if (kind == INFO && length == 0) {
    status = info();
  } else if (kind == WRITE) {
    status = write_part(payload, length);
  } else if (kind == RUN) {
    status = run(payload, length);
  }
  session.answer[0] = (uint8_t)status;
  answer(session.answer, session.answer_length, NULL, 0);
}

static void handle(void) {
  uint8_t kind = line.frame[0], length = line.frame[3];
  const uint8_t* payload = line.frame + HEADER_BYTES;
  uint16_t sequence = (uint16_t)(line.frame[1] | line.frame[2] << 8);
  bool begins = kind == RESET;
  bool again = session.open && sequence == session.sequence && kind == session.kind;
  bool next = session.open && sequence == (uint16_t)(session.sequence + 1);
  if (!begins && !again && !next) {
    refuse(OUT_OF_SEQUENCE);
    return;
  }
  session.open = true;
  session.sequence = sequence;
  session.kind = kind;
  if (kind == READ)
    read_part(payload, length); /* changes nothing: it may be carried out again */
  else if (again && !begins)
    answer(session.answer, session.answer_length, NULL, 0);
  else
    carry_out(kind, payload, length);
}

static bool whole(void) {
  if (line.broken || line.escaped || line.length < HEADER_BYTES + CRC_BYTES) return false;
  uint32_t checked = HEADER_BYTES + (uint32_t)line.frame[3];
  return line.length == checked + CRC_BYTES && crc_of(line.frame, checked) == load(line.frame + checked);
}

void protocol_receive(uint8_t byte) {
  if (byte == END) {
    if (whole()) handle();
    line.length = 0;
    line.escaped = line.broken = false;
  } else if (byte == ESCAPE) {
    line.broken = line.broken || line.escaped;
    line.escaped = true;
  } else {
    if (line.escaped) {
      line.broken = line.broken || (byte != ESCAPED_END && byte != ESCAPED_ESCAPE);
      byte = byte == ESCAPED_END ? END : ESCAPE;
      line.escaped = false;
    }
    if (line.length == FRAME_BYTES)
      line.broken = true;
    else
      line.frame[line.length++] = byte;
  }
}
