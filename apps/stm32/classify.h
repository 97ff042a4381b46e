#ifndef CLASSIFY_H_
#define CLASSIFY_H_

#include <stdint.h>

/* The kind of clothes in 28 x 28 grey bytes, from 0 to 9; negative if the network fails. */
int classify(const uint8_t* image);

#endif /* CLASSIFY_H_ */
