/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and sentences of the status codes, and the library's version.
 */
#include "iviti/iviti.h"

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)
#define STATUS(constant)                                                                           \
    case constant:                                                                                 \
        return #constant

const char *iviti_status_name(iviti_status status)
{
    switch (status) {
        STATUS(IVITI_OK);
        STATUS(IVITI_ERROR_ARGUMENT);
        STATUS(IVITI_ERROR_IMAGE_SIZE);
        STATUS(IVITI_ERROR_NOT_A_MODEL);
        STATUS(IVITI_ERROR_TRUNCATED);
        STATUS(IVITI_ERROR_CORRUPT);
        STATUS(IVITI_ERROR_CHECKSUM);
        STATUS(IVITI_ERROR_RANGE);
        STATUS(IVITI_ERROR_VERSION);
        STATUS(IVITI_ERROR_ARCHITECTURE);
        STATUS(IVITI_ERROR_UNSUPPORTED);
        STATUS(IVITI_ERROR_LIMIT);
        STATUS(IVITI_ERROR_MEMORY);
        STATUS(IVITI_ERROR_BUFFER);
        STATUS(IVITI_ERROR_IO);
        STATUS(IVITI_ERROR_STATE);
        STATUS(IVITI_ERROR_THREAD);
    }
    return "IVITI_ERROR_UNKNOWN";
}

const char *iviti_status_text(iviti_status status)
{
    switch (status) {
    case IVITI_OK:
        return "done";
    case IVITI_ERROR_ARGUMENT:
        return "an argument breaks its documented contract";
    case IVITI_ERROR_IMAGE_SIZE:
        return "the picture has no pixels, or a side above the limit";
    case IVITI_ERROR_NOT_A_MODEL:
        return "the bytes are not a GGUF file";
    case IVITI_ERROR_TRUNCATED:
        return "the file ends before its own description does";
    case IVITI_ERROR_CORRUPT:
        return "a field, tensor or value contradicts the format";
    case IVITI_ERROR_CHECKSUM:
        return "the bytes are not those that were written";
    case IVITI_ERROR_RANGE:
        return "a constant could overflow the integer arithmetic";
    case IVITI_ERROR_VERSION:
        return "a format version that this library does not know";
    case IVITI_ERROR_ARCHITECTURE:
        return "a GGUF file of another architecture";
    case IVITI_ERROR_UNSUPPORTED:
        return "a feature, operator or instruction set that is not available here";
    case IVITI_ERROR_LIMIT:
        return "larger than a documented limit or the caller's budget";
    case IVITI_ERROR_MEMORY:
        return "the allocator returned nothing";
    case IVITI_ERROR_BUFFER:
        return "the caller's buffer is too small";
    case IVITI_ERROR_IO:
        return "the file cannot be opened or read";
    case IVITI_ERROR_STATE:
        return "results asked for before the first run";
    case IVITI_ERROR_THREAD:
        return "a worker thread cannot be started";
    }
    return "not a status of this library";
}

const char *iviti_version(void)
{
    return TEXT(IVITI_VERSION_MAJOR) "." TEXT(IVITI_VERSION_MINOR) "." TEXT(IVITI_VERSION_PATCH);
}
