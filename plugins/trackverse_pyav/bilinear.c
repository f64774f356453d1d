/* One plane of 8-bit samples, sampled bilinearly on an upright grid of its own.
 *
 * Rows are blended first, a few at a time, into a small buffer; then its columns are. Both weigh
 * in 128ths and round to 8 bits. Eight samples of a row are made at once: their neighbours are
 * shuffled out of sixteen bytes. Where there is no compiler, or no AVX2, OpenCV samples
 * (sampling.py).
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define INTERFACE 1
/* The samples that a block of columns makes, and the bytes that it reads. */
#define BLOCK 8
#define SPAN 16
#define VECTOR 32
/* Rows in the buffer: more than one, so that none is read while its stores are under way. */
#define ROWS 16
#define PADDING 32
/* With a wider step the last of eight samples would need a byte beyond the sixteenth. */
#define WIDEST_STEP 1.85
#define AVX2 __attribute__((target("avx2")))

/* How eight samples of a row are made: which, from which byte on, of which pairs, weighed how. */
typedef struct {
    int32_t at;
    int32_t first;
    uint8_t pairs[SPAN];
    uint8_t weights[SPAN];
} Block;

typedef struct {
    int whole;
    int part; /* 128ths */
} Place;

/* A place on an axis of `length` samples; what lies outside repeats the border. */
static Place place_of(double at, int length)
{
    if (!(at > 0))
        at = 0;
    if (at > length - 1)
        at = length - 1;
    Place place = {(int)at, 0};
    place.part = (int)((at - place.whole) * 128 + 0.5);
    return place;
}

/* Rows hold samples less 128: of the two factors, one has to be signed. */
static int8_t blend(int8_t one, int8_t other, int16_t part)
{
    return (int8_t)((int16_t)((128 - part) * one + part * other + 64) >> 7);
}

static void
blend_short_rows(const uint8_t *above, const uint8_t *below, int part, int8_t *row, int count)
{
    for (int i = 0; i < count; i++)
        row[i] = blend((int8_t)(above[i] ^ 0x80), (int8_t)(below[i] ^ 0x80), (int16_t)part);
}

/* Less than a block. */
static void blend_short_columns(const int8_t *row, const Block *block, uint8_t *target, int width)
{
    for (int k = 0; k < width; k++) {
        const int8_t *from = row + block->first + block->pairs[2 * k];
        target[k] = (uint8_t)(blend(from[0], from[1], block->weights[2 * k + 1]) ^ 0x80);
    }
}

AVX2 static void
blend_rows(const uint8_t *above, const uint8_t *below, int part, int8_t *row, int count)
{
    const __m256i sign = _mm256_set1_epi8((char)0x80);
    const __m256i weights = _mm256_set1_epi16((short)((128 - part) | part << 8));
    const __m256i rounding = _mm256_set1_epi16(1 << 8); /* (v + 64) >> 7 */
    if (count < VECTOR) {
        blend_short_rows(above, below, part, row, count);
        return;
    }
    for (int begin = 0; begin < count; begin += VECTOR) {
        /* The last stretch overlaps the one before it. */
        const int i = begin + VECTOR <= count ? begin : count - VECTOR;
        __m256i a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(above + i)), sign);
        __m256i b = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(below + i)), sign);
        __m256i low = _mm256_maddubs_epi16(weights, _mm256_unpacklo_epi8(a, b));
        __m256i high = _mm256_maddubs_epi16(weights, _mm256_unpackhi_epi8(a, b));
        low = _mm256_mulhrs_epi16(low, rounding);
        high = _mm256_mulhrs_epi16(high, rounding);
        _mm256_storeu_si256((__m256i *)(row + i), _mm256_packs_epi16(low, high));
    }
}

AVX2 static __m256i
two_blocks(const int8_t *row, const Block *one, const Block *other)
{
    __m256i bytes = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(row + one->first))),
        _mm_loadu_si128((const __m128i *)(row + other->first)), 1);
    __m256i pairs = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)one->pairs)),
        _mm_loadu_si128((const __m128i *)other->pairs), 1);
    __m256i weights = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)one->weights)),
        _mm_loadu_si128((const __m128i *)other->weights), 1);
    __m256i sums = _mm256_maddubs_epi16(weights, _mm256_shuffle_epi8(bytes, pairs));
    return _mm256_mulhrs_epi16(sums, _mm256_set1_epi16(1 << 8));
}

AVX2 static void
blend_columns(const int8_t *row, const Block *blocks, uint8_t *target, int width)
{
    const __m256i sign = _mm256_set1_epi8((char)0x80);
    if (width < BLOCK) {
        blend_short_columns(row, blocks, target, width);
        return;
    }
    int i = 0;
    for (; i + VECTOR <= width; i += VECTOR, blocks += 4) {
        /* Packing takes the halves of both in turn. */
        __m256i even = two_blocks(row, &blocks[0], &blocks[2]);
        __m256i odd = two_blocks(row, &blocks[1], &blocks[3]);
        __m256i samples = _mm256_xor_si256(_mm256_packs_epi16(even, odd), sign);
        _mm256_storeu_si256((__m256i *)(target + i), samples);
    }
    for (; i < width; i += BLOCK, blocks++) {
        __m128i sums = _mm256_castsi256_si128(two_blocks(row, blocks, blocks));
        __m128i samples = _mm_packs_epi16(sums, sums);
        samples = _mm_xor_si128(samples, _mm256_castsi256_si128(sign));
        _mm_storel_epi64((__m128i *)(target + blocks->at), samples);
    }
}

static void fill_blocks(Block *blocks, double x, double across, int width, int source_width)
{
    const int origin = place_of(x, source_width).whole;
    for (int i = 0; i < width; i += BLOCK, blocks++) {
        /* The last block overlaps the one before it. */
        blocks->at = i + BLOCK <= width || width < BLOCK ? i : width - BLOCK;
        const int first = place_of(x + blocks->at * across, source_width).whole;
        blocks->first = first - origin;
        for (int k = 0; k < BLOCK; k++) {
            const Place place = place_of(x + (blocks->at + k) * across, source_width);
            blocks->pairs[2 * k] = (uint8_t)(place.whole - first);
            blocks->pairs[2 * k + 1] = (uint8_t)(place.whole - first + 1);
            blocks->weights[2 * k] = (uint8_t)(128 - place.part);
            blocks->weights[2 * k + 1] = (uint8_t)place.part;
        }
    }
}

/* What a caller has to know of, or 0 where the processor cannot run this. */
int trackverse_bilinear_interface(void)
{
    return __builtin_cpu_supports("avx2") ? INTERFACE : 0;
}

/* Fill the sample (i, j) of a plane from the place (x + i * across, y + j * down) of another.
 *
 * Strides are bytes from row to row, sizes are samples. Returns 0; 1 where a step is not one that
 * this can take, -1 without memory, with nothing written in both cases.
 */
int trackverse_bilinear(
    const uint8_t *source, ptrdiff_t source_stride, int source_width, int source_height,
    uint8_t *target, ptrdiff_t target_stride, int width, int height,
    double x, double across, double y, double down)
{
    if (!(across > 0 && across <= WIDEST_STEP && down > 0))
        return 1;
    if (source_width < 1 || source_height < 1 || width < 1 || height < 1)
        return 1;
    const int left = place_of(x, source_width).whole;
    const int right = place_of(x + (width - 1) * across, source_width).whole;
    /* The neighbour of a plane's last column has no weight, and is the padding's. */
    const int count = right + 2 <= source_width ? right + 2 - left : source_width - left;
    const size_t block_count = ((size_t)width + BLOCK - 1) / BLOCK;
    const size_t pitch = (size_t)count + PADDING;
    Block *blocks = malloc(block_count * sizeof(Block) + ROWS * pitch);
    if (!blocks)
        return -1;
    int8_t *rows = (int8_t *)(blocks + block_count);
    fill_blocks(blocks, x, across, width, source_width);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < PADDING; i++)
            rows[row * pitch + count + i] = 0;
    for (int begin = 0; begin < height; begin += ROWS) {
        const int end = begin + ROWS < height ? begin + ROWS : height;
        for (int j = begin; j < end; j++) {
            const Place place = place_of(y + j * down, source_height);
            const uint8_t *above = source + place.whole * source_stride + left;
            const uint8_t *below = place.whole + 1 < source_height ? above + source_stride : above;
            int8_t *row = rows + (j - begin) * pitch;
            blend_rows(above, below, place.part, row, count);
        }
        for (int j = begin; j < end; j++) {
            const int8_t *row = rows + (j - begin) * pitch;
            blend_columns(row, blocks, target + j * target_stride, width);
        }
    }
    free(blocks);
    return 0;
}
