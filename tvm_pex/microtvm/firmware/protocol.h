/* Runs the model for a host at the other end of a serial line that may corrupt, lose and double bytes.
 *
 * The host asks, the device answers; one request at a time. A frame, in either direction:
 *
 *   END  kind  sequence(2)  length  payload(length)  crc(4)  END
 *
 * Numbers are little-endian. The CRC is CRC-32 (IEEE 802.3) from kind to payload. Inside a frame END and ESCAPE are sent
 * as ESCAPE ESCAPED_END and ESCAPE ESCAPED_ESCAPE, so that an END always ends what came before it. Bytes that do not make
 * a whole frame with the right CRC are dropped without an answer: the host asks again.
 *
 * An answer has the request's sequence number, its kind + REPLY, and a payload that begins with a status.
 *
 *   kind       payload of the request       payload of the answer after its status
 *   1 RESET    -                            -
 *   2 INFO     -                            version, inputs, outputs, 0, model id(4), memory bytes(4), stack bytes(4)
 *   3 WRITE    port, offset(4), bytes       -
 *   4 RUN      crc of all inputs(4)         model's own result(4), crc of all outputs(4), stack bytes used so far(4)
 *   5 READ     port, offset(4), length      bytes
 *
 * RESET begins a session: the next request has its sequence number + 1, and so on. A request with the number and the kind
 * of the one before is that request once more: it is answered again and not carried out again. All others are errors.
 * The parts of all inputs are written in order, without a gap; only then RUN runs, and only after it READ reads. */
#ifndef TVM_PEX_PROTOCOL_H_
#define TVM_PEX_PROTOCOL_H_

#include <stdint.h>

/* Takes one byte from the serial line. With the last byte of a good frame it carries out the request and answers. */
void protocol_receive(uint8_t byte);

#endif
