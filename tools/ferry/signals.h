/* SPDX-License-Identifier: MIT
 *
 * signals.h - how signals were treated when the tool was started, so that a command it runs finds them so.
 */
#ifndef FERRY_TOOL_SIGNALS_H
#define FERRY_TOOL_SIGNALS_H

/* Notes it; called once, before anything is changed. */
void signals_note(void);

/* Makes it so again, in a child process that is about to become another program. */
void signals_give_back(void);

#endif
