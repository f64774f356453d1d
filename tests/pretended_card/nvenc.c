/* An NVENC that is only pretended, so that FFmpeg's own `h264_nvenc` runs without a card.
 *
 * It writes every picture as plain samples (H.264's I_PCM), so what was handed to it can be read
 * off the clip, sample by sample. Like real ones it refuses small pictures.
 *
 *   PRETENDED_LOG       gets a line for each encoder that begins, and for what is wrong
 *   PRETENDED_SESSIONS  so many encoders may be open at once
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"

typedef int Status;
enum { FINE = 0, INVALID = 8, NO_MEMORY = 10, UNKNOWN = 22 };
enum { API = 13 << 4, FUNCTIONS = 48 };
enum { LEAST_WIDTH = 145, LEAST_HEIGHT = 49, MOST = 4096 };
enum { CAP_MOST_WIDTH = 16, CAP_MOST_HEIGHT = 17, CAP_LEAST_WIDTH = 45, CAP_LEAST_HEIGHT = 46 };
enum { FLAG_IDR = 2, FLAG_END = 8, TYPE_P = 0, TYPE_IDR = 3, IS_FRAME = 1, NV12 = 1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sessions;

/* The beginnings of the structures that FFmpeg fills; nothing beyond is looked at. */

typedef struct {
    uint64_t halves[2];
} Guid;

typedef struct {
    uint32_t version;
    int which;
} Cap;

typedef struct {
    uint32_t version;
    uint8_t profile[16];
    uint32_t gop;
    int32_t interval;
} Config;

typedef struct {
    uint32_t version;
    uint8_t codec[16], preset[16];
    uint32_t width, height, shown_width, shown_height, rate, rate_base, is_async, decides_types;
    uint32_t bits[5];
    Config *config;
} Begin;

typedef struct {
    uint32_t version, kind, width, height, pitch, part;
    uint8_t *samples;
    void *registered;
    uint32_t format;
} Resource;

typedef struct {
    uint32_t version, part;
    void *input, *registered, *mapped;
    uint32_t format;
} Mapping;

typedef struct {
    uint32_t version, width, height, pitch, flags, number;
    uint64_t time, duration;
    Resource *input;
    void *output;
} Sent;

typedef struct {
    uint32_t version, bits;
    void *output;
    uint32_t *slices;
    uint32_t number, status, count, size;
    uint64_t time, duration;
    uint8_t *bytes;
    int type, structure;
} Locked;

typedef struct {
    uint32_t version, room, ids[2];
    uint8_t *bytes;
    uint32_t *size;
} Headers;

typedef struct {
    uint32_t version, size, heap, reserved;
    void *made;
} Buffer;

typedef struct {
    uint8_t *bytes;
    size_t size;
    uint64_t time, duration;
    int type;
} Output;

typedef struct {
    unsigned width, height, columns, rows;
    long frames, idr;
    unsigned number; /* since the last IDR */
} Encoder;

/* Bits of H.264. */

typedef struct {
    uint8_t *bytes;
    size_t size;
    int used;
} Bits;

static void put(Bits *bits, unsigned value, int count)
{
    while (count--) {
        if (!bits->used)
            bits->bytes[bits->size] = 0;
        bits->bytes[bits->size] |= (uint8_t)((value >> count & 1) << (7 - bits->used));
        if (++bits->used == 8) {
            bits->used = 0;
            bits->size++;
        }
    }
}

static void put_golomb(Bits *bits, unsigned value)
{
    int length = 0;
    while ((value + 1) >> length)
        length++;
    put(bits, 0, length - 1);
    put(bits, value + 1, length);
}

static void put_end(Bits *bits)
{
    put(bits, 1, 1);
    while (bits->used)
        put(bits, 0, 1);
}

static size_t write_unit(uint8_t *out, uint8_t head, const Bits *bits)
{
    size_t size = 0;
    int zeros = 0;
    const uint8_t begin[] = {0, 0, 0, 1, head};
    memcpy(out, begin, sizeof begin);
    size = sizeof begin;
    for (size_t i = 0; i < bits->size; i++) {
        uint8_t byte = bits->bytes[i];
        if (zeros >= 2 && byte <= 3) {
            out[size++] = 3;
            zeros = 0;
        }
        out[size++] = byte;
        zeros = byte ? 0 : zeros + 1;
    }
    return size;
}

static size_t write_headers(const Encoder *encoder, uint8_t *out)
{
    uint8_t room[64];
    Bits bits = {room, 0, 0};
    unsigned across = encoder->columns * 16 - encoder->width;
    unsigned down = encoder->rows * 16 - encoder->height;
    put(&bits, 66, 8); /* baseline */
    put(&bits, 0xC0, 8);
    put(&bits, 40, 8);
    put_golomb(&bits, 0); /* its number */
    put_golomb(&bits, 0); /* frames are counted by 4 bits */
    put_golomb(&bits, 2); /* shown as they come */
    put_golomb(&bits, 1);
    put(&bits, 0, 1);
    put_golomb(&bits, encoder->columns - 1);
    put_golomb(&bits, encoder->rows - 1);
    put(&bits, 3, 2); /* frames only, 8x8 inference */
    put(&bits, 1, 1);
    put_golomb(&bits, 0);
    put_golomb(&bits, across / 2);
    put_golomb(&bits, 0);
    put_golomb(&bits, down / 2);
    put(&bits, 0, 1);
    put_end(&bits);
    size_t size = write_unit(out, 0x67, &bits);
    bits = (Bits){room, 0, 0};
    put_golomb(&bits, 0);
    put_golomb(&bits, 0);
    put(&bits, 0, 2); /* no arithmetic coding, no order */
    put_golomb(&bits, 0);
    put_golomb(&bits, 0);
    put_golomb(&bits, 0);
    put(&bits, 0, 3);
    put_golomb(&bits, 0);
    put_golomb(&bits, 0);
    put_golomb(&bits, 0);
    put(&bits, 4, 3); /* a slice may turn deblocking off */
    put_end(&bits);
    return size + write_unit(out + size, 0x68, &bits);
}

static void put_plane(Bits *bits, const uint8_t *from, size_t pitch, unsigned step,
                      unsigned side, unsigned width, unsigned height, unsigned x, unsigned y)
{
    for (unsigned j = y * side; j < (y + 1) * side; j++)
        for (unsigned i = x * side; i < (x + 1) * side; i++)
            bits->bytes[bits->size++] = i < width && j < height ? from[j * pitch + i * step] : 128;
}

static size_t write_picture(Encoder *encoder, const Resource *input, int is_idr, uint8_t *out)
{
    uint8_t *room = malloc((size_t)encoder->columns * encoder->rows * 400 + 64);
    Bits bits = {room, 0, 0};
    const uint8_t *chroma = input->samples + (size_t)input->pitch * input->height;
    put_golomb(&bits, 0);
    put_golomb(&bits, 7); /* all of it by itself */
    put_golomb(&bits, 0);
    encoder->number = is_idr ? 0 : encoder->number + 1;
    put(&bits, encoder->number & 15, 4);
    if (is_idr)
        put_golomb(&bits, (unsigned)(encoder->idr++ & 1));
    put(&bits, 0, is_idr ? 2 : 1);
    put_golomb(&bits, 0);
    put_golomb(&bits, 1);
    for (unsigned y = 0; y < encoder->rows; y++)
        for (unsigned x = 0; x < encoder->columns; x++) {
            unsigned width = encoder->width / 2, height = encoder->height / 2;
            put_golomb(&bits, 25); /* I_PCM */
            while (bits.used)
                put(&bits, 0, 1);
            put_plane(&bits, input->samples, input->pitch, 1, 16, width * 2, height * 2, x, y);
            put_plane(&bits, chroma, input->pitch, 2, 8, width, height, x, y);
            put_plane(&bits, chroma + 1, input->pitch, 2, 8, width, height, x, y);
        }
    put_end(&bits);
    size_t size = write_unit(out, is_idr ? 0x65 : 0x41, &bits);
    free(room);
    return size;
}

/* What FFmpeg calls. */

static Status open_session(void *how, void **made)
{
    const char *most = getenv("PRETENDED_SESSIONS");
    (void)how;
    pthread_mutex_lock(&lock);
    int is_full = most && sessions >= atol(most);
    sessions += !is_full;
    pthread_mutex_unlock(&lock);
    if (is_full)
        return NO_MEMORY;
    *made = calloc(1, sizeof(Encoder));
    return FINE;
}

static Status destroy(Encoder *encoder)
{
    pthread_mutex_lock(&lock);
    sessions--;
    pthread_mutex_unlock(&lock);
    free(encoder);
    return FINE;
}

static Status count_codecs(void *encoder, uint32_t *count)
{
    (void)encoder;
    *count = 1;
    return FINE;
}

static Status list_codecs(void *encoder, uint8_t *list, uint32_t room, uint32_t *count)
{
    const uint8_t h264[16] = {0x62, 0x27, 0xc8, 0x6b, 0x63, 0x4e, 0xa4, 0x4c,
                              0xaa, 0x85, 0x1e, 0x50, 0xf3, 0x21, 0xf6, 0xbf};
    (void)encoder;
    memcpy(list, h264, room ? sizeof h264 : 0);
    return count_codecs(encoder, count);
}

static Status tell_cap(void *encoder, Guid codec, const Cap *cap, int *value)
{
    (void)encoder;
    (void)codec;
    switch (cap->which) {
    case CAP_MOST_WIDTH:
    case CAP_MOST_HEIGHT:
        *value = MOST;
        break;
    case CAP_LEAST_WIDTH:
        *value = LEAST_WIDTH;
        break;
    case CAP_LEAST_HEIGHT:
        *value = LEAST_HEIGHT;
        break;
    default:
        *value = 4;
    }
    return FINE;
}

static Status do_nothing(void) { return FINE; }

static Status begin(Encoder *encoder, const Begin *how)
{
    if (how->width < LEAST_WIDTH || how->height < LEAST_HEIGHT)
        return INVALID;
    encoder->width = how->width;
    encoder->height = how->height;
    encoder->columns = (how->width + 15) / 16;
    encoder->rows = (how->height + 15) / 16;
    /* Otherwise it is free to predict backwards, which makes reading a clip slower. */
    say(how->config->interval == 1 ? "encoder, forwards only" : "encoder", how->width);
    return FINE;
}

static Status make_buffer(void *encoder, Buffer *buffer)
{
    (void)encoder;
    buffer->made = calloc(1, sizeof(Output));
    return FINE;
}

static Status free_buffer(void *encoder, Output *output)
{
    (void)encoder;
    free(output->bytes);
    free(output);
    return FINE;
}

static Status enter(void *encoder, Resource *resource)
{
    (void)encoder;
    Resource *kept = malloc(sizeof *kept);
    *kept = *resource;
    resource->registered = kept;
    return FINE;
}

static Status leave(void *encoder, Resource *resource)
{
    (void)encoder;
    free(resource);
    return FINE;
}

static Status map(void *encoder, Mapping *mapping)
{
    (void)encoder;
    mapping->mapped = mapping->registered;
    mapping->format = ((Resource *)mapping->registered)->format;
    return FINE;
}

static Status encode(Encoder *encoder, const Sent *sent)
{
    if (sent->flags & FLAG_END)
        return FINE;
    const Resource *input = sent->input;
    if (input->format != NV12)
        say("wrong: a picture is not NV12", (long)input->format);
    if (input->width != encoder->width || input->height != encoder->height)
        say("wrong: a picture has another size", (long)input->width);
    Output *output = sent->output;
    int is_idr = !encoder->frames++ || sent->flags & FLAG_IDR;
    output->bytes = realloc(output->bytes, (size_t)encoder->columns * encoder->rows * 640 + 1024);
    output->size = is_idr ? write_headers(encoder, output->bytes) : 0;
    output->size += write_picture(encoder, input, is_idr, output->bytes + output->size);
    output->time = sent->time;
    output->duration = sent->duration;
    output->type = is_idr ? TYPE_IDR : TYPE_P;
    say("encoded", encoder->frames);
    return FINE;
}

static Status lock_output(void *encoder, Locked *locked)
{
    (void)encoder;
    const Output *output = locked->output;
    locked->bytes = output->bytes;
    locked->size = (uint32_t)output->size;
    locked->time = output->time;
    locked->duration = output->duration;
    locked->type = output->type;
    locked->structure = IS_FRAME;
    return FINE;
}

static Status tell_headers(const Encoder *encoder, Headers *headers)
{
    *headers->size = (uint32_t)write_headers(encoder, headers->bytes);
    return FINE;
}

static const char *last_error(void *encoder)
{
    (void)encoder;
    return "pretended";
}

static Status unexpected(void)
{
    say("unexpected call", 0);
    return UNKNOWN;
}

typedef struct {
    uint32_t version, reserved;
    void *calls[FUNCTIONS];
} Functions;

Status NvEncodeAPIGetMaxSupportedVersion(uint32_t *version)
{
    *version = API;
    return FINE;
}

Status NvEncodeAPICreateInstance(Functions *functions)
{
    void **calls = functions->calls;
    for (int i = 0; i < FUNCTIONS; i++)
        calls[i] = (void *)unexpected;
    calls[1] = (void *)count_codecs;
    calls[4] = (void *)list_codecs;
    calls[7] = (void *)tell_cap;
    calls[11] = (void *)begin;
    calls[14] = (void *)make_buffer;
    calls[15] = (void *)free_buffer;
    calls[16] = (void *)encode;
    calls[17] = (void *)lock_output;
    calls[18] = calls[26] = calls[38] = calls[39] = (void *)do_nothing; /* unlock, unmap, ... */
    calls[22] = (void *)tell_headers;
    calls[25] = (void *)map;
    calls[27] = (void *)destroy;
    calls[29] = (void *)open_session;
    calls[30] = (void *)enter;
    calls[31] = (void *)leave;
    calls[37] = (void *)last_error;
    return FINE;
}
