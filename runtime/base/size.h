#ifndef MK_BASE_SIZE_H
#define MK_BASE_SIZE_H

/* Sizes for people: 1536 -> "1.5 KiB"; below 1 KiB in whole bytes. What is larger than the room is
 * cut; no file is. */
#define MK_SIZE_TEXT 32
void mk_size_text(double bytes, char text[MK_SIZE_TEXT]);

#endif
