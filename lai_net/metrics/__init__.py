"""Precision, recall and F1 of NER, RE and RE+."""
