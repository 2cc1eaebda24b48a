/* SPDX-License-Identifier: Apache-2.0
 *
 * What check_no_float.sh must find: floating-point arithmetic and conversion.
 */
double float_probe(int a, double b);

double float_probe(int a, double b)
{
    return a * b + (float)b;
}
