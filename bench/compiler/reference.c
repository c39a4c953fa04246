/* The same work as bench/compiler/guest.ts and the guest modules that it uses, for gcc -O2. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static const uint8_t LENGTHS[] = {
#include "lengths.h"
};
enum { MODRM = 8, ESCAPE = 16, PREFIX = 32, GROUP_3 = 64 };

static inline size_t instruction_length(const uint8_t *start) {
  const uint8_t *p = start;
  bool wide = false, is_short = false;
  uint32_t op = *p++;
  uint32_t entry = LENGTHS[op];
  while (entry & PREFIX) {
    if (op == 0x66) is_short = true;
    wide = (op & 0xf8) == 0x48;
    op = *p++;
    entry = LENGTHS[op];
  }
  if (entry & ESCAPE) {
    op = *p++ | 0x100u;
    entry = LENGTHS[op];
    if (entry & ESCAPE) {
      p++;
      entry = op == 0x138 ? MODRM : MODRM | 1;
    }
  }
  uint32_t immediate = entry & 7;
  if (entry & MODRM) {
    uint32_t modrm = *p++;
    uint32_t mod = modrm >> 6;
    if (mod != 3) {
      if ((modrm & 7) == 4) {
        uint32_t sib = *p++;
        if (!mod && (sib & 7) == 5) p += 4;
      } else if (!mod && (modrm & 7) == 5) {
        p += 4;
      }
      if (mod == 1) p++;
      else if (mod == 2) p += 4;
    }
    if (entry & GROUP_3 && !(modrm & 0x30)) immediate = op & 1 ? 5 : 1;
  }
  if (immediate == 5) immediate = is_short && !wide ? 2 : 4;
  else if (immediate == 6) immediate = wide ? 8 : is_short ? 2 : 4;
  else if (immediate == 7) immediate = 8;
  return p + immediate - start;
}

uint64_t lengths(const uint8_t *start, const uint8_t *end) {
  uint64_t sum = 0;
  for (const uint8_t *p = start; p < end;) {
    size_t n = instruction_length(p);
    sum = sum * 3 + n;
    p += n;
  }
  return sum;
}

uint64_t scan(const uint8_t *start, const uint8_t *end) {
  uint64_t found = 0;
  for (const uint8_t *p = start; p + 1 < end; p++)
    if (p[0] == 0x0f && p[1] == 0x05) found++;
  return found;
}

/* ── guest/rewrite/maps.ts ─────────────────────────────────────────────────────────────────────────────────────────── */

struct mapping {
  uint64_t start, end, protection, offset, inode;
  const uint8_t *name;
  uint64_t name_length;
};

static const uint8_t *hex(const uint8_t *p, const uint8_t *end, uint64_t *to) {
  uint64_t value = 0;
  while (p < end) {
    uint32_t c = *p++;
    uint32_t digit = c - 0x30;
    uint32_t letter = (c | 0x20) - 0x61;
    if (digit < 10) value = value << 4 | digit;
    else if (letter < 6) value = value << 4 | (letter + 10);
    else break;
  }
  *to = value;
  return p;
}

static const uint8_t *decimal(const uint8_t *p, const uint8_t *end, uint64_t *to) {
  uint64_t value = 0;
  while (p < end) {
    uint32_t digit = *p - 0x30u;
    if (digit > 9) break;
    value = value * 10 + digit;
    p++;
  }
  *to = value;
  return p;
}

static const uint8_t *skip_field(const uint8_t *p, const uint8_t *end) {
  while (p < end && *p != 0x20) p++;
  return p + 1;
}

static uint64_t parse_maps(const uint8_t *p, const uint8_t *end, struct mapping *out, struct mapping *out_end) {
  uint64_t count = 0;
  while (p < end && out + 1 <= out_end) {
    struct mapping *m = out;
    p = hex(p, end, &m->start);
    p = hex(p, end, &m->end);
    uint64_t protection = 0;
    for (uint64_t bit = 1; bit <= 4; bit <<= 1) {
      if (p < end && *p != 0x2d) protection |= bit;
      p++;
    }
    m->protection = protection;
    p = hex(p + 2, end, &m->offset);
    p = skip_field(p, end);
    p = decimal(p, end, &m->inode);
    while (p < end && *p == 0x20) p++;
    m->name = p;
    while (p < end && *p != 0x0a) p++;
    m->name_length = p - m->name;
    p++;
    out++;
    count++;
  }
  return count;
}

static struct mapping records[64 * 1024 / sizeof(struct mapping)];

uint64_t maps(const uint8_t *start, const uint8_t *end) {
  uint64_t count = parse_maps(start, end, records, records + sizeof records / sizeof *records);
  return count * 31 + records[count - 1].start;
}

/* ── A hash table with open addressing ─────────────────────────────────────────────────────────────────────────────── */

struct entry {
  uint64_t key, value;
};

struct table {
  uint32_t shift, mask;
  struct entry entries[];
};

static uint64_t look_up(const struct table *table, uint64_t key) {
  uint64_t mask = table->mask;
  for (uint64_t i = key * 0x9e3779b97f4a7c15u >> table->shift;; i = (i + 1) & mask) {
    const struct entry *entry = &table->entries[i];
    if (entry->key == key) return entry->value;
    if (!entry->key) return 0;
  }
}

uint64_t hash(const uint64_t *keys, const uint64_t *end, const struct table *table) {
  uint64_t sum = 0;
  for (const uint64_t *p = keys; p < end; p++) sum += look_up(table, *p);
  return sum;
}
