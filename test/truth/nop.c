/* SPDX-License-Identifier: Apache-2.0 */
/* Does nothing: what the exec acts execute. */
int main(void)
{
	return 0;
}
